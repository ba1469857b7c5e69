"""Factors against a product written out, and the encoder against the best of that rank."""

from __future__ import annotations

import numpy as np
import pytest

from organza.codes import MultiHash
from organza.codes.multihash import side_of
from tests.strategies import random_code


@pytest.mark.parametrize("seed", range(8))
def test_weights_are_the_product(seed):
    code = random_code(np.random.default_rng(seed), (3, 5, 2, 1), "multihash")
    n = 6
    for k, weight in enumerate(code.integers().reshape(-1).tolist()):
        total = sum(
            int(code.left[k // n, r]) * int(code.right[r, k % n]) for r in range(code.terms)
        )
        exact = np.floor(total / 2**code.shift + (0.5 if code.shift else 0))
        assert weight == np.clip(exact, -127, 127)
    assert code.stored_bits == 8 * 2 * n * code.terms + 5
    assert code.buffer_bits(1, 1, 1) == 8 * 30


def test_sides():
    for count in range(1, 200):
        n = side_of((count, 1, 1, 1))
        assert (n - 1) ** 2 < count <= n * n


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_close_to_the_best_of_its_rank(factor):
    weights = np.random.default_rng(0).normal(0, 1, (16, 16, 4, 4))
    code, scales = MultiHash.encode(weights, 1, np.ones(16), factor=factor)
    assert code.terms == 32 // factor
    made = code.integers() * scales[None, :, None, None]
    error = ((made - weights) ** 2).sum() / (weights**2).sum()
    values = np.linalg.svd(weights.reshape(64, 64), compute_uv=False) ** 2
    best = values[code.terms :].sum() / values.sum()
    assert 0.95 * best < error < best + 0.01
    assert np.abs(code.integers()).max() > 60


ONE = np.ones((1, 1), int)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: MultiHash(ONE * 0.5, ONE, (1, 1, 1, 1), 0), TypeError, "^MultiHash left must be integers"),
        (lambda: MultiHash(ONE, ONE * 128, (1, 1, 1, 1), 0), ValueError, "^MultiHash right must be within"),
        (lambda: MultiHash(ONE, ONE, (2, 1, 1, 1), 0), ValueError, r"^MultiHash factors must be \(2, m\)"),
        (lambda: MultiHash(ONE, ONE, (1, 1, 1, 1), 32), ValueError, "^MultiHash shift must be between"),
        (lambda: MultiHash(ONE, ONE, (1, 1, 1, 1), 1.0), TypeError, "^MultiHash shift must be an integer"),
        (lambda: MultiHash(ONE, ONE, (1, 1, 0, 1), 0), ValueError, "^MultiHash size must be"),
        (lambda: MultiHash.encode(np.ones((1, 1, 1, 1)), 1, ONE[0], factor=0), ValueError, "^multihash factor"),
        (lambda: MultiHash.encode(np.ones((1, 1, 1, 1)), 1, ONE[0], bits=2), ValueError, "^multihash has no"),
    ],
)  # fmt: skip
def test_wrong_codes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
