"""The line that the chip gets: never a worse one after a refit, better than ranges, exact zeros under a mask."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.codes.line import best_line
from organza.compress.coders.em import EmCoder, MinMaxCoder
from tests.organza.compress.coders.cases import ready, real, weights

SHAPE = (4, 6, 3, 2)


def error(coder, weight, mask=None):
    wrong = (real(coder, weight, mask) - weight).double().square()
    return float(wrong.mean() if mask is None else wrong[mask].mean())


@given(st.integers(1, 8), st.integers(0, 1000), st.booleans())
def test_refits_never_raise_the_error(bits, seed, masked):
    weight = weights("normal", SHAPE, seed) + 0.3
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed)) < 0.7 if masked else None
    weight = weight if mask is None else weight * mask
    coder = ready("em", {"bits": bits, "steps": 1}, weight, 1, mask)
    errors = [error(coder, weight, mask)]
    for _ in range(6):
        coder.refit(weight, mask)
        errors.append(error(coder, weight, mask))
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(errors))
    if mask is None:  # the zero point of the chip costs next to nothing against the real line
        values = weight.double().numpy().reshape(-1)
        assert errors[-1] <= best_line(values, (1 << bits) - 1)[0] * 1.02 + 1e-12


def test_refits_follow_weights_that_move():
    weight = weights("normal", (16, 16, 4, 4))
    coder = ready("em", {"bits": 3}, weight)
    fresh = error(coder, weight)
    moved = 1.3 * weight + 0.5
    before = error(coder, moved)
    for _ in range(20):
        coder.refit(moved, None)
    assert error(coder, moved) < 0.7 * before and error(coder, moved) == pytest.approx(1.69 * fresh, rel=0.05)


@given(st.integers(1, 4), st.integers(0, 300), st.sampled_from(["minmax", "uniform", "log", "tanh"]))
def test_em_has_the_least_error_of_what_qgan_compares(bits, seed, other):
    """On bell-shaped weights, which are those of generators; the same granularity for all."""
    if other == "uniform" and bits == 1:
        return
    weight = weights("normal", (8, 8, 4, 4), seed)
    em = error(ready("em", {"bits": bits}, weight), weight)
    assert em < error(ready(other, {"bits": bits, "granularity": "tensor"}, weight), weight)


@pytest.mark.parametrize("kind", ["em", "minmax"])
@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("extreme", ["normal", "offset", "negative", "constant", "zero"])
def test_zero_is_a_level_where_weights_are_pruned(kind, bits, extreme):
    weight = weights(extreme, SHAPE)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5
    code, _ = ready(kind, {"bits": bits}, weight, 1, mask).code(weight * mask, mask)
    assert code.fraction == 0 and 0 <= code.offset <= (1 << bits) - 1
    assert not code.integers()[~mask.numpy()].any()


def test_ranges_are_from_smallest_to_largest():
    weight = torch.tensor([-1.0, 0.4, 2.0, 0.1]).reshape(4, 1, 1, 1)
    coder = ready("minmax", {"bits": 2}, weight)
    assert real(coder, weight, None).reshape(-1).tolist() == pytest.approx([-1, 0, 2, 0], abs=0.01)
    coder.refit(2 * weight, None)
    assert real(coder, 2 * weight, None).reshape(-1).tolist() == pytest.approx([-2, 0, 4, 0], abs=0.02)


@pytest.mark.parametrize("value", [0.3, -0.3, 2e-6, -5e7])
@pytest.mark.parametrize("coder", [EmCoder, MinMaxCoder])
def test_one_value_stays(value, coder):
    weight = torch.full(SHAPE, value)
    made = coder(SHAPE, 1, bits=2)
    made.refit(weight, None)
    torch.testing.assert_close(made(weight, None), weight, rtol=1e-6, atol=0)


def test_channels_have_one_line_over_their_sizes():
    weight = weights("normal", (32, 3, 4, 4)) * torch.tensor([1.0, 1e-3, 40.0]).reshape(1, 3, 1, 1)
    coder = ready("em", {"bits": 4, "granularity": "channel"}, weight)
    wrong = (real(coder, weight, None) - weight).square().mean((0, 2, 3)) / weight.square().mean((0, 2, 3))
    assert wrong.max() < 0.02
    whole = ready("em", {"bits": 4}, weight)
    assert (real(whole, weight, None) - weight)[:, 1].square().mean() / weight[:, 1].square().mean() > 0.9


def test_a_network_has_one_line():
    first, second = weights("normal", SHAPE), 3 * weights("normal", SHAPE, 1)
    coder = EmCoder(SHAPE, 1, bits=2, granularity="network")
    coder.fit([first, second], [None, None])
    both = torch.cat([first, second])
    alone = ready("em", {"bits": 2}, both)
    assert float(coder.step) == float(alone.step) and float(coder.offset) == float(alone.offset)


@pytest.mark.parametrize("options, error_kind, message", [
    ({"bits": 0}, ValueError, "^em bits must be between 1 and 8, not 0$"),
    ({"steps": 0}, ValueError, "^em steps must be between 1 and 100, not 0$"),
    ({"steps": 1.0}, TypeError, "^em steps must be an integer, not 1.0$"),
])  # fmt: skip
def test_wrong_options(options, error_kind, message):
    with pytest.raises(error_kind, match=message):
        EmCoder(SHAPE, 1, **options)


def test_gradients_pass_straight_through():
    for kind in ("em", "minmax"):
        weight = weights("normal", SHAPE).requires_grad_()
        ready(kind, {}, weight.detach())(weight, None).backward(weights("normal", SHAPE, 1))
        assert torch.equal(weight.grad, weights("normal", SHAPE, 1))
