"""Every weight code: fields and integers agree, encoders minimise what they say, files bring it back."""

from __future__ import annotations

import numpy as np
import pytest

from organza.codes import CODES, Affine, Binary, Codebook, Linear, PowerOfTwo, Ternary
from organza.codes.binary import binarise_by_redundancy, redundancy_of
from organza.codes.code import by_channel, from_channels
from tests.strategies import random_code

SEEDS = range(8)
# Codes whose fields and words need nothing but the weights; test_sparse.py has the others.
DENSE = [kind for kind, code in CODES.items() if not code.gathers]


def decode(code, fields: np.ndarray) -> np.ndarray:
    """What each field means, written down once more, field by field; those of a serial code are of its inner one."""
    code = getattr(code, "inner", code)
    meaning = {
        "linear": lambda f: f - (f >> (code.field_bits - 1) << code.field_bits),
        "blockhash": lambda f: f - (f >> 7 << 8),
        "affine": lambda f: f * 2**code.fraction - code.offset,
        "ternary": lambda f: [0, 1, 0, -1][f],
        "binary": lambda f: [1, -1][f],
        "power": lambda f: (-1) ** (f >> (code.field_bits - 1)) * int(2 ** ((f % (1 << (code.field_bits - 1))) - 1))
        if f % (1 << (code.field_bits - 1))
        else 0,
        "flexpoint": lambda f: int(np.uint16(f).astype(np.int16)),
        "codebook": lambda f: int(code.arrays()["centroids"][f]),
    }[code.kind]
    return np.vectorize(lambda f: meaning(int(f)), otypes=[np.int64])(fields)


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("seed", SEEDS)
def test_fields_mean_the_integers(kind, seed):
    code = random_code(np.random.default_rng(seed), (6, 3, 2, 2), kind)
    fields = code.fields()
    assert fields.min() >= 0
    assert fields.max() < 1 << code.field_bits
    np.testing.assert_array_equal(decode(code, fields), code.integers())
    assert np.abs(code.integers()).max() <= code.magnitude


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize(("groups", "ti", "to"), [(1, 1, 1), (1, 4, 2), (2, 2, 3), (3, 2, 1)])
def test_words_hold_every_weight_once(kind, groups, ti, to):
    code = random_code(np.random.default_rng(1), (6, 3, 2, 2), kind)
    words = code.words(ti, to, groups)
    ci, cog, ky, kx = code.shape
    nti, nto = -(-ci // groups // ti), -(-cog // to)
    assert words.shape == (groups * nto * ky * kx * nti, to, ti)
    for index in np.ndindex(groups, nto, ky * kx, nti, to, ti):
        g, cot, tap, cit, c, i = index
        channel, output = cit * ti + i, cot * to + c
        address = ((g * nto + cot) * ky * kx + tap) * nti + cit
        inside = channel < ci // groups and output < cog
        wanted = code.fields()[g * (ci // groups) + channel, output, tap // kx, tap % kx] if inside else 0
        assert words[address, c, i] == wanted


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("groups", [1, 2])
def test_encoders_code_what_they_were_given(kind, groups):
    rng = np.random.default_rng(3)
    weights = rng.normal(0, 1, (8, 4, 3, 3))
    power = rng.uniform(0.5, 2, 8)
    code, scales = CODES[kind].encode(weights, groups, power)
    assert code.kind == kind
    assert code.shape == weights.shape
    assert scales.shape == (4 * groups,)
    rows, made = by_channel(weights, groups), by_channel(code.integers(), groups) * scales[:, None]
    error = ((made - rows) ** 2).sum() / (rows**2).sum()
    # Signal to noise of Gaussian weights: 8 bits, 4-bit powers, 1.5 bits, 1 bit, 16 centroids, the larger quarter,
    # and one number for 8 weights.
    limit = {"linear": 1e-3, "affine": 0.012, "power": 0.03, "ternary": 0.25, "binary": 0.40, "flexpoint": 1e-8, "codebook": 0.015,
             "sparse": 0.40, "huffman": 1e-3, "rle": 1e-3, "hashed": 0.89, "multihash": 0.8, "blockhash": 0.89}[kind]  # fmt: skip
    assert error < limit
    # The real weights of any other generator must come back through the same layout.
    np.testing.assert_array_equal(from_channels(rows, weights.shape, groups), weights)


def test_ternary_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (7, 1, 1, 1))
    code, scales = Ternary.encode(weights, 1, np.ones(7))
    row = weights.ravel()

    def error(threshold: float) -> float:
        kept = np.abs(row) >= threshold
        scale = np.abs(row[kept]).mean()
        return float(((np.where(kept, np.sign(row) * scale, 0) - row) ** 2).sum())

    best = min(error(t) for t in np.abs(row))
    assert ((code.integers().ravel() * scales[0] - row) ** 2).sum() == pytest.approx(best)


@pytest.mark.parametrize("bits", range(1, 9))
def test_em_is_never_worse_than_the_range(bits):
    """SQNR on Gaussian weights: the line that EM finds against the one from the smallest to the largest weight."""
    weights = np.random.default_rng(bits).normal(0, 1, (64, 16, 1, 1))
    code, scales = Affine.encode(weights, 1, np.ones(64), bits=bits)
    error = ((code.integers() * scales[0] - weights) ** 2).mean()
    step = (weights.max() - weights.min()) / ((1 << bits) - 1)
    levels = np.clip(np.round((weights - weights.min()) / step), 0, (1 << bits) - 1)
    assert error <= ((levels * step + weights.min() - weights) ** 2).mean() * 1.01
    if bits <= 4:
        # 4.40, 9.22, 14.2, 19.3 dB are known for EM on Gaussian weights.
        assert 10 * np.log10((weights**2).mean() / error) == pytest.approx((4.40, 9.25, 14.3, 19.6)[bits - 1], abs=0.8)


def test_binary_scale_is_the_mean_magnitude():
    weights = np.array([1.0, -2.0, 3.0, -6.0]).reshape(4, 1, 1, 1)
    code, scales = Binary.encode(weights, 1, np.ones(4))
    assert code.integers().ravel().tolist() == [1, -1, 1, -1]
    assert scales.tolist() == [3.0]


@pytest.mark.parametrize("kind", CODES)
def test_a_channel_of_zeros(kind):
    weights = np.zeros((4, 2, 1, 1))
    weights[:, 1] = np.arange(1, 5).reshape(4, 1, 1)
    code, scales = CODES[kind].encode(weights, 1, np.ones(4))
    assert np.isfinite(scales).all()
    made = by_channel(code.integers(), 1) * scales[:, None]
    # A line through all weights of a layer meets zero to half a step of its zero point.
    np.testing.assert_allclose(made[0], 0, atol=0.5 * scales[0] * 2**8 if kind == "affine" else 1e-12)


@pytest.mark.parametrize(
    ("layers", "redundancy"),
    [
        # Inputs of the projection and the four transposed convolutions of DCGAN-64.
        ([(100, 1, 1), (512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32)], [99, 496, 192, -128, -960]),
        # Of the transposed convolutions of the one with 5×5 kernels and 1,024 channels.
        ([(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32)], [1008, 448, 0, -896]),
    ],
)
def test_apgan_layer_selection_is_the_published_one(layers, redundancy):
    assert [redundancy_of(*layer) for layer in layers] == redundancy
    assert [binarise_by_redundancy(*layer) for layer in layers] == [value > 0 for value in redundancy]


ONE = np.ones((1, 1, 1, 1), np.int64)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Linear(ONE * 8, 4), ValueError, r"^Linear weights of 4 bits must be within ±7$"),
        (lambda: Linear(ONE, 17), ValueError, r"^Linear bits must be between 2 and 16, not 17$"),
        (lambda: Linear(ONE, 8.0), TypeError, r"^Linear bits must be an integer, not 8\.0$"),
        (lambda: Linear(ONE * 0.5), TypeError, r"^Linear weights must be integers, not float64$"),
        (lambda: Affine(ONE * 4, 2, 0), ValueError, r"^Affine levels must be between 0 and 3$"),
        (lambda: Affine(ONE, 9, 0), ValueError, r"^Affine bits must be between 1 and 8, not 9$"),
        (lambda: Affine(ONE, 2, 1 << 20), ValueError, r"^Affine offset must be within ±2\*\*20, not 1048576$"),
        (lambda: Affine(ONE, 2, 0, 9), ValueError, r"^Affine fraction must be between 0 and 8, not 9$"),
        (lambda: Affine(ONE, 2, 0.5), TypeError, r"^Affine offset must be an integer, not 0\.5$"),
        (lambda: Ternary(ONE * 2), ValueError, r"^Ternary weights must be -1, 0 or 1$"),
        (lambda: Ternary(ONE[0]), ValueError, r"^Ternary weights must have shape \(ci, co/groups, ky, kx\), not \(1, 1, 1\)$"),
        (lambda: Binary(ONE * 0), ValueError, r"^Binary weights must be -1 or 1$"),
        (lambda: PowerOfTwo(ONE * 3), ValueError, r"^PowerOfTwo weights of 4 bits must be 0 or ±1, 2, 4, … 64$"),
        (lambda: PowerOfTwo(ONE * 128), ValueError, r"^PowerOfTwo weights of 4 bits must be 0 or ±1, 2, 4, … 64$"),
        (lambda: PowerOfTwo(ONE, 6), ValueError, r"^PowerOfTwo bits must be between 2 and 5, not 6$"),
        (lambda: PowerOfTwo(ONE, True), TypeError, r"^PowerOfTwo bits must be an integer, not True$"),
        (lambda: Codebook(ONE * 2, np.array([1, 2])), ValueError, r"^Codebook indices must be below 2, the number of centroids$"),
        (lambda: Codebook(ONE, np.arange(257)), ValueError, r"^Codebook must have 2 to 256 centroids, not \(257,\)$"),
        (lambda: Codebook(ONE, np.array([2, 1])), ValueError, r"^Codebook centroids must be ascending integers of 8 bits$"),
        (lambda: Codebook(ONE, np.array([0, 200])), ValueError, r"^Codebook centroids must be ascending integers of 8 bits$"),
        (lambda: Codebook(ONE, np.array([0.0, 1.0])), TypeError, r"^Codebook centroids must be integers, not float64$"),
        (lambda: Codebook.encode(ONE * 1.0, 1, np.ones(1), centroids=300), ValueError, r"^codebook must have 2 to 256 centroids, not 300$"),
        (lambda: Ternary.encode(ONE * 1.0, 1, np.ones(1), bits=3), ValueError, r"^ternary has no option 'bits'$"),
    ],
)  # fmt: skip
def test_wrong_codes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
