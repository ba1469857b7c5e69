"""xxHash32 against its published values and package, hashed weights against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from organza.codes import Hashed
from organza.codes.hashed import places
from organza.codes.xxhash import xxh32, xxh32_pairs

words = st.integers(0, (1 << 32) - 1)


@pytest.mark.parametrize(
    ("octets", "seed", "value"),
    [
        (b"", 0, 0x02CC5D05),
        (b"", 0x9E3779B1, 0x36B78AE7),
        (b"a", 0, 0x550D7456),
        (b"abc", 0, 0x32D153FF),
        (b"Nobody inspects the spammish repetition", 0, 0xE2293B2F),
    ],
)
def test_published_values(octets, seed, value):
    assert xxh32(octets, seed) == value


@given(st.binary(max_size=70), words)
def test_any_bytes(octets, seed):
    assert xxh32(octets, seed) == xxhash.xxh32(octets, seed).intdigest()


@given(st.lists(st.tuples(words, words), min_size=1, max_size=20), words)
def test_pairs(pairs, seed):
    first, second = (np.array(part) for part in zip(*pairs, strict=True))
    octets = [a.to_bytes(4, "little") + b.to_bytes(4, "little") for a, b in pairs]
    wanted = [xxhash.xxh32(some, seed).intdigest() for some in octets]
    assert xxh32_pairs(first, second, seed).tolist() == wanted


def test_weights_are_what_the_hashes_say():
    code = Hashed(np.array([5, -127, 0, 33, 90]), (3, 4, 2, 2), 77)
    for place, weight in np.ndenumerate(code.integers()):
        row, column = place[0], np.ravel_multi_index(place[1:], (4, 2, 2))
        key = int(row).to_bytes(4, "little") + int(column).to_bytes(4, "little")
        bucket = xxhash.xxh32(key, 77).intdigest() * 5 >> 32
        negative = xxhash.xxh32(key, 77 ^ 0xFFFFFFFF).intdigest() >> 31
        assert weight == (-1) ** negative * code.buckets[bucket]
    assert code.stored_bits == 5 * 8 + 32
    assert code.buffer_bits(1, 1, 1) == 48 * 8
    assert code.buffer_bits(2, 3, 1) == 2 * 2 * 4 * 6 * 8  # lane words of 6, some of their places empty


def test_places_are_spread():
    index, sign = places((64, 64, 4, 4), 1000, 3)
    amounts = np.bincount(index.ravel(), minlength=1000)
    # 65.5 weights a bucket, as many as of independent draws: χ² with 999 degrees, ± 5 deviations.
    assert abs(((amounts - 65.536) ** 2 / 65.536).sum() - 999) < 5 * np.sqrt(2 * 999)
    assert abs(sign.mean()) < 5 / 256
    assert abs((sign.ravel() * (index.ravel() - 499.5)).mean()) < 5 * 289 / 256


def test_buckets_are_the_least_squares():
    rng = np.random.default_rng(0)
    weights, power = rng.normal(0, 1, (6, 4, 2, 2)), rng.uniform(0.5, 2, 6)
    code, scales = Hashed.encode(weights, 1, power, factor=4, seed=9)
    index, sign = places(weights.shape, 24, 9)
    cost = np.broadcast_to(np.sqrt(power)[:, None, None, None], weights.shape).ravel()
    scale = np.broadcast_to(scales[None, :, None, None], weights.shape).ravel()
    matrix = np.zeros((weights.size, 24))
    matrix[np.arange(weights.size), index.ravel()] = sign.ravel() * scale * cost
    best = np.linalg.lstsq(matrix, weights.ravel() * cost, rcond=None)[0]
    used = np.isin(np.arange(24), index)
    assert np.abs(best - code.buckets)[used].max() <= 0.5 + 1e-9
    assert np.abs(code.buckets).max() == 127


def test_one_weight_a_bucket_is_still_not_dense():
    """Places collide; fewer buckets are never much better."""
    weights = np.random.default_rng(0).normal(0, 1, (32, 16, 2, 2))
    errors = []
    for factor in (1, 4, 16):
        code, scales = Hashed.encode(weights, 1, np.ones(32), factor=factor)
        made = code.integers() * scales[None, :, None, None]
        errors.append(((made - weights) ** 2).mean())
        assert len(code.buckets) == 2048 // factor
    assert errors[0] < errors[1] < errors[2] < 1.05


ONE = np.ones(1, int)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Hashed(ONE * 0.5, (1, 1, 1, 1)), TypeError, "^Hashed buckets must be integers"),
        (lambda: Hashed(ONE[:0], (1, 1, 1, 1)), ValueError, "^Hashed must have 1 to 2.*buckets"),
        (lambda: Hashed(ONE * 128, (1, 1, 1, 1)), ValueError, "^Hashed buckets must be within ±127$"),
        (lambda: Hashed(ONE, (1, 1, 1)), ValueError, "^Hashed size must be"),
        (lambda: Hashed(ONE, (1, 1, 1, 0)), ValueError, "^Hashed size must be"),
        (lambda: Hashed(ONE, (1, 1, 1, 1.0)), TypeError, "^Hashed size must be an integer, not 1.0$"),
        (lambda: Hashed(ONE, (1, 1, 1, 1), -1), ValueError, "^Hashed seed must be between 0 and"),
        (lambda: Hashed(ONE, (1, 1, 1, 1), 0.0), TypeError, "^Hashed seed must be an integer"),
        (lambda: Hashed.encode(np.ones((1, 1, 1, 1)), 1, ONE, factor=0), ValueError,
         "^hashed factor must be at least 1, not 0$"),
        (lambda: Hashed.encode(np.ones((1, 1, 1, 1)), 1, ONE, bits=0), ValueError,
         "^hashed has no option 'bits'$"),
    ],
)  # fmt: skip
def test_wrong_codes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
