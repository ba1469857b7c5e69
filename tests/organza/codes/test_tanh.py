"""Codebooks after the tanh law."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from organza.codes import Codebook, Huffman, Sparse
from organza.codes.spec import CodeSpec, parse_spec
from organza.codes.tanh import STEEPNESS, fit_tanh, tanh_centroids
from organza.errors import UserError


@pytest.mark.parametrize("steepness", [0.1, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("bits", range(1, 9))
def test_tanh_makes_equal_steps_of_the_centroids(bits, steepness):
    """Each centroid is the integer nearest to the weight whose tanh is the step, as `math` makes it."""
    steps = [(2 * k - (1 << bits) + 1) / ((1 << bits) - 1) for k in range(1 << bits)]
    exact = [127 * math.atanh(step * math.tanh(steepness)) / steepness for step in steps]
    found = tanh_centroids(bits, steepness)
    assert found.dtype == np.int64
    assert all(np.abs(found - value).min() <= 0.5 + 1e-9 for value in exact)
    assert all(min(abs(value - centroid) for value in exact) <= 0.5 + 1e-9 for centroid in found)
    assert (found == -found[::-1]).all()
    assert found[-1] == 127
    assert (np.diff(found) > 0).all()
    assert bits > 6 or len(found) == 1 << bits


@pytest.mark.parametrize("bits", [0, 9])
def test_wrong_bits(bits):
    with pytest.raises(ValueError, match=f"^tanh bits must be between 1 and 8, not {bits}$"):
        tanh_centroids(bits, 1.0)
    with pytest.raises(ValueError, match="tanh bits"):
        Codebook.encode(np.ones((1, 1, 1, 1)), 1, np.ones(1), law="tanh", bits=bits)


def test_other_wrong_options():
    with pytest.raises(TypeError, match=r"^tanh bits must be an integer, not 2\.5$"):
        tanh_centroids(2.5, 1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^tanh has no option 'centroids'$"):
        Codebook.encode(np.ones((1, 1, 1, 1)), 1, np.ones(1), law="tanh", centroids=16)
    with pytest.raises(ValueError, match=r"^codebook law must be 'k-means' or 'tanh', not 'sine'$"):
        Codebook.encode(np.ones((1, 1, 1, 1)), 1, np.ones(1), law="sine")


@pytest.mark.parametrize("bits", [1, 2, 4, 6])
def test_the_fit_is_the_best_of_the_family(bits):
    """No steepness on the grid is better, and no scale of a row, found by SciPy, either."""
    rng = np.random.default_rng(bits)
    rows, cost = rng.laplace(size=(3, 200)), rng.uniform(0.1, 1, (3, 200))
    indices, centroids, scales = fit_tanh(rows, cost, bits)
    chosen = centroids[indices]

    def error(row, scale):
        return (cost[row] * (rows[row] - scale * chosen[row]) ** 2).sum()

    for row in range(3):
        best = minimize_scalar(lambda scale, row=row: error(row, scale), bounds=(0, 1), method="bounded")
        assert error(row, scales[row]) <= best.fun * (1 + 1e-6)
    total = sum(error(row, scales[row]) for row in range(3))
    for steepness in STEEPNESS[::4]:
        levels = torch.tensor(tanh_centroids(bits, float(steepness)))
        unit = torch.tensor(rows / np.abs(rows).max(1, keepdims=True) * 127)
        nearest = levels[(unit[..., None] - levels).abs().argmin(-1)].numpy()
        factor = (cost * rows * nearest).sum(1) / (cost * nearest**2).sum(1)
        assert total <= (cost * (rows - factor[:, None] * nearest) ** 2).sum() * (1 + 1e-9)


def test_more_bits_less_error_and_small_weights_get_finer_steps():
    weights = np.random.default_rng(0).laplace(size=(16, 8, 3, 3))
    errors = []
    for bits in range(1, 7):
        code, scales = Codebook.encode(weights, 1, np.ones(16), law="tanh", bits=bits)
        errors.append(((weights - code.integers() * scales[None, :, None, None]) ** 2).mean() / weights.var())
        assert code.field_bits == bits
    assert all(b < 0.7 * a for a, b in zip(errors, errors[1:], strict=False))
    steps = np.diff(tanh_centroids(5, 2.0))
    assert (np.diff(steps[15:]) >= -1).all()
    assert steps[-1] > 3 * steps[15]


def test_channels_without_weights():
    weights = np.zeros((2, 2, 1, 1))
    weights[:, 1] = [[[1.0]], [[-0.5]]]
    code, scales = Codebook.encode(weights, 1, np.zeros(2), law="tanh")
    assert scales[0] == 0
    np.testing.assert_allclose((code.integers() * scales[None, :, None, None])[:, 1].ravel(), [1, -0.5], atol=0.05)


def test_what_users_type():
    assert parse_spec("tanh") == CodeSpec("codebook", {"law": "tanh"})
    assert parse_spec("tanh:3") == CodeSpec("codebook", {"law": "tanh", "bits": 3})
    for text in ("tanh", "tanh:3", "huffman+tanh:4", "sparse:50+tanh:4"):
        assert str(parse_spec(text)) == text
    with pytest.raises(UserError, match=r"^code tanh takes a whole number of bits, not 'x'$"):
        parse_spec("tanh:x")
    with pytest.raises(UserError, match=r"^code tanh takes only bits, not 'tanh:4:4'$"):
        parse_spec("tanh:4:4")


def test_inside_other_codes():
    weights = np.random.default_rng(1).normal(size=(16, 4, 3, 3))
    huffman, _ = Huffman.encode(weights, 1, np.ones(16), inner=parse_spec("tanh:3"))
    plain, _ = Codebook.encode(weights, 1, np.ones(16), law="tanh", bits=3)
    assert (huffman.integers() == plain.integers()).all()
    assert huffman.arithmetics == plain.arithmetics == ("plain", "bins")
    sparse, _ = Sparse.encode(weights, 1, np.ones(16), sparsity=50, inner=parse_spec("tanh:3"))
    assert set(np.unique(sparse.integers())) - {0} <= set(sparse.inner.centroids)
