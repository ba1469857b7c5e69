"""Hashed weights: least squares at the start, gradients that are signed sums, the authors' own hash."""

from typing import Any

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from organza.codes import BlockHash, Hashed
from organza.codes.hashed import places
from organza.compress.coders.hashed import BlockHashCoder, HashedCoder, compat_places
from tests.organza.compress.coders.cases import ready, weights

SHAPE = (8, 6, 3, 4)
KINDS = {"hashed": {"factor": 4, "seed": 9}, "blockhash": {"factor": 4, "ti": 4, "to": 3}}


def matrix(coder):
    """Weights over their channel's size = matrix · buckets."""
    made = torch.zeros(coder.index.numel(), len(coder.buckets), dtype=torch.float64)
    made[torch.arange(len(made)), coder.index.long()] = coder.sign.reshape(-1).double()
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2])
def test_buckets_start_as_least_squares_of_the_weights(kind, groups):
    weight = weights("normal", SHAPE)
    coder = ready(kind, KINDS[kind], weight, groups)
    unit = coder.spread(coder.unit).expand(SHAPE).double().reshape(-1, 1)
    best = torch.linalg.lstsq(unit * matrix(coder), weight.double().reshape(-1, 1), driver="gelsd").solution[:, 0]
    torch.testing.assert_close(coder.buckets.detach().double(), best, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rescale", [False, True])
def test_gradients_are_signed_sums_over_places(kind, rescale):
    coder = ready(kind, {**KINDS[kind], "rescale": rescale}, weights("normal", SHAPE))
    outer = weights("normal", SHAPE, 1)
    coder(None, None).backward(outer)
    unit = coder.spread(coder.unit).expand(SHAPE).double().reshape(-1)
    wanted = matrix(coder).T @ (unit * outer.double().reshape(-1))
    if rescale:
        wanted /= matrix(coder).abs().sum(0).clamp_min(1)
    torch.testing.assert_close(coder.buckets.grad.double(), wanted, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_numerical():
    coder: Any = HashedCoder((3, 2, 2, 2), 1, factor=4).double()
    target = weights("normal", (3, 2, 2, 2), 1).double()
    made = coder(None, None)
    (made.tanh() - target).square().sum().backward()
    rounded = made.detach() * coder.sign  # every weight's bucket as it is rounded

    def loss(k, step):
        return ((coder.sign * (rounded + step * (coder.index == k).reshape(3, 2, 2, 2))).tanh() - target).square().sum()

    for k in range(6):
        slope = (loss(k, 1e-6) - loss(k, -1e-6)) / 2e-6
        assert float(coder.buckets.grad[k]) == pytest.approx(float(slope), rel=1e-6, abs=1e-9)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_places_are_those_of_the_chips_code(factor, seed):
    coder = HashedCoder(SHAPE, 1, factor=factor, seed=seed)
    index, sign = places(SHAPE, -(-576 // factor), seed)
    assert np.array_equal(coder.index.reshape(SHAPE).numpy(), index) and np.array_equal(coder.sign.numpy(), sign)
    assert isinstance(coder.code(None, None)[0], Hashed)


@given(st.integers(1, 40), st.integers(1, 10), st.integers(1, 10), st.sampled_from([1, 2]))
def test_blocked_places_are_those_of_the_chips_code(factor, ti, to, groups):
    coder = BlockHashCoder(SHAPE, groups, factor=factor, ti=ti, to=to, start="random")
    code = coder.code(None, None)[0]
    assert isinstance(code, BlockHash) and code.lane_shape == (min(ti, 8 // groups), min(to, 6))
    marks = np.arange(code.rows.size) % 127 + 1
    made = BlockHash(marks.reshape(code.rows.shape), SHAPE, groups).integers()
    assert np.array_equal(made, coder.sign.long().numpy() * marks[coder.index.reshape(SHAPE).numpy()])


def test_a_random_start_ignores_the_weights_and_repeats_itself():
    first, second = (ready("hashed", {"start": "random", "seed": 5}, weights("normal", SHAPE, k)) for k in (0, 1))
    assert torch.equal(first.buckets, second.buckets)
    limit = (8 * 3 * 4) ** -0.5
    assert first.buckets.abs().max() <= limit and first.buckets.abs().max() > 0.9 * limit
    assert not torch.equal(first.buckets, HashedCoder(SHAPE, 1, seed=6).buckets)


def test_the_authors_places():
    """Keys as their Lua code joins them, hashed by the reference library."""
    index, sign = compat_places(7, 12, 5)
    assert index.shape == sign.shape == (7, 12)
    for i, j, key in ((1, 1, "123_123"), (1, 9, "123_91011"), (7, 12, "789_121314")):
        assert index[i - 1, j - 1] == xxhash.xxh32(f"{key}idxW".encode(), seed=1691).intdigest() % 5
        assert sign[i - 1, j - 1] == (1 if xxhash.xxh32(f"{key}xi_W".encode(), seed=1691).intdigest() % 2 else -1)
    many, signs = compat_places(60, 60, 16)
    assert np.bincount(many.reshape(-1), minlength=16).min() > 150 and abs(signs.mean()) < 0.1


@pytest.mark.parametrize("coder, options, error, message", [
    (HashedCoder, {"factor": 0}, ValueError, "^hashed factor must be between 1 and"),
    (HashedCoder, {"seed": -1}, ValueError, "^hashed seed must be between 0 and"),
    (HashedCoder, {"start": "zeros"}, ValueError, "^hashed start must be one of weights, random, not 'zeros'$"),
    (HashedCoder, {"rescale": 1}, TypeError, "^hashed rescale must be true or false, not 1$"),
    (BlockHashCoder, {"ti": 0}, ValueError, "^blockhash ti must be between 1 and"),
    (BlockHashCoder, {"to": 2.0}, TypeError, "^blockhash to must be an integer, not 2.0$"),
])  # fmt: skip
def test_wrong_options(coder, options, error, message):
    with pytest.raises(error, match=message):
        coder(SHAPE, 1, **options)
