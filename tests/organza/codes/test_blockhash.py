"""Blocked hash against its definition, and buckets of least squares."""

from __future__ import annotations

import numpy as np
import pytest

from organza.codes import BlockHash, Huffman
from organza.codes.blockhash import hash_words, sign_bits
from tests.strategies import random_code


@pytest.mark.parametrize("seed", range(8))
def test_weights_are_the_rows(seed):
    groups = 1 + seed % 2
    code = random_code(np.random.default_rng(seed), (6, 5, 2, 3), "blockhash", groups=groups)
    ti, to = code.lane_shape
    assert ti and to
    words = code.words(ti, to, groups)
    integers = words - (words >> 7 << 8)
    weights = 0
    for address, word in enumerate(integers):
        h = address * 2654435761 % 2**32
        row = code.rows[h >> (32 - code.row_bits)]
        folded = h ^ (h >> 15)
        for lane, (bucket, weight) in enumerate(zip(row.ravel(), word.ravel(), strict=True)):
            a, b = sign_bits(ti * to)[lane]
            sign = -1 if (folded >> a ^ folded >> b) & 1 else 1
            assert weight in (sign * bucket, 0)  # 0 where there is no weight
            weights += weight == sign * bucket
    assert weights >= 180
    assert code.stored_bits == code.image_bits(ti, to, groups) == code.buffer_bits(ti, to, groups) == 8 * code.rows.size


def test_signs_differ_from_lane_to_lane():
    assert all(a != b for a, b in sign_bits(512))
    assert len(set(map(frozenset, sign_bits(128)))) == 128
    rows, signs = hash_words(4096, 32, 6)
    assert np.abs(np.bincount(rows, minlength=64) - 64).max() <= 2  # Weyl: better than random
    assert np.abs(signs.mean(0)).max() < 0.1
    # Lanes agree about as often as not.
    agreement = np.abs(signs.T @ signs / 4096 - np.eye(32))
    assert np.median(agreement) < 0.05


def test_buckets_are_the_least_squares():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (16, 8, 2, 2))
    for factor in (1, 4, 8):
        code, scales = BlockHash.encode(weights, 1, np.ones(16), factor=factor, ti=4, to=2)
        assert code.lane_shape == (4, 2)
        assert code.stored_bits == 8 * 512 // factor
        made = code.integers() * scales[None, :, None, None]
        error = ((made - weights) ** 2).mean() / (weights**2).mean()
        assert error < 1 - 0.8 / factor
        # No bucket can do better: the error is at right angles to what a row changes.
        again, _ = BlockHash.encode(made, 1, np.ones(16), factor=factor, ti=4, to=2)
        assert np.abs(again.rows - code.rows).max() <= 127


def test_wrong_codes():
    rows = np.ones((2, 1, 1), int)
    for make, kind, message in (
        (
            lambda: BlockHash(rows * 0.5, (1, 1, 1, 1)),
            TypeError,
            "^BlockHash rows must be integers",
        ),
        (lambda: BlockHash(rows[:0], (1, 1, 1, 1)), ValueError, "^BlockHash rows must be"),
        (lambda: BlockHash(np.ones((3, 1, 1), int), (1, 1, 1, 1)), ValueError, "^BlockHash rows"),
        (lambda: BlockHash(np.ones((2, 2, 1), int), (1, 1, 1, 1)), ValueError, "^BlockHash lanes"),
        (lambda: BlockHash(rows * 128, (1, 1, 1, 1)), ValueError, "^BlockHash rows must be within"),
        (lambda: BlockHash(rows, (3, 1, 1, 1), 2), ValueError, "^BlockHash size must be"),
        (lambda: BlockHash(rows, (3, 1, 1, 1), 1.0), TypeError, "^BlockHash groups must be"),
        (lambda: Huffman(BlockHash(rows, (1, 1, 1, 1))), ValueError, "^huffman must be around"),
    ):
        with pytest.raises(kind, match=message):
            make()
