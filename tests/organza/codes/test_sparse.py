"""Sparse weights: what is stored comes back, lane words hold every kept weight once, pruning keeps
what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from organza.codes import CODES, Affine, Binary, Code, Codebook, Linear, PowerOfTwo, Sparse, Ternary
from organza.codes.code import by_channel
from organza.codes.compressed import from_csc, from_csr, to_csc, to_csr
from organza.codes.pruning import prune
from organza.codes.sparse import INNER
from organza.codes.sparse_formats import decode_bitmap, decode_relative, encode_relative
from organza.codes.spec import parse_spec
from organza.program import Program
from organza.program_file import load_program, save_program
from tests.strategies import random_code, random_convolve

SEEDS = range(12)
SHAPE = (12, 5, 2, 3)


def a_code(seed: int, shape=SHAPE) -> Sparse:
    code = random_code(np.random.default_rng([5, seed]), shape, "sparse")
    assert isinstance(code, Sparse)
    return code


@pytest.mark.parametrize("seed", SEEDS)
def test_integers_are_the_inner_ones_or_zero(seed):
    rng = np.random.default_rng(seed)
    inner = random_code(rng, SHAPE, INNER[seed % len(INNER)], inside=True)
    mask = rng.random(SHAPE) < 0.4
    code = Sparse(inner, mask)
    np.testing.assert_array_equal(code.integers(), np.where(mask, inner.integers(), 0))
    # A kept weight that is zero would only take a cycle.
    np.testing.assert_array_equal(code.mask, code.integers() != 0)
    np.testing.assert_array_equal(code.effectual(), (code.integers() != 0).sum((0, 1)))


@pytest.mark.parametrize("index", ["bitmap", "relative"])
@pytest.mark.parametrize("gap", [2, 3, 8])
@pytest.mark.parametrize("seed", SEEDS)
def test_stored_bits_come_back(seed, gap, index):
    drawn = a_code(seed)
    code = Sparse(drawn.inner, drawn.mask, drawn.block, index, gap)
    bits = code.to_bits()
    assert bits.dtype == np.uint8 and bits.max(initial=0) <= 1
    assert code.stored_bits == len(bits) + code.inner.table_bits
    fields, mask = code.from_bits(bits)
    np.testing.assert_array_equal(mask, code.mask)
    np.testing.assert_array_equal(fields, np.where(code.mask, code.inner.fields(), 0))


def test_bits_written_out_by_hand():
    """Four kept weights of 12 with 2-bit gaps: a gap of 5 takes one filler, a gap of 0 none."""
    mask = np.array([0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0], bool)
    fields = np.arange(12) % 4
    entries = [(3, 0), (2, 1), (0, 2), (2, 1)]
    wanted = [
        bit
        for gap, value in entries
        for number in (gap, value)
        for bit in (number & 1, number >> 1)
    ]
    assert encode_relative(fields, mask, 2, 2).tolist() == wanted
    code = Sparse(Ternary(np.array([0, 1, -1, 1]).reshape(4, 1, 1, 1)), np.ones((4, 1, 1, 1), bool))
    assert code.to_bits().tolist() == [0, 1, 1, 1, 1, 0, 1, 1, 1, 0]


def test_the_bill():
    mask = np.zeros((64, 32, 4, 4), bool)
    mask[::4] = True
    code = Sparse(Linear(np.ones(mask.shape, int)), mask)
    assert code.stored_bits == mask.size + mask.size // 4 * 8
    assert Sparse(code.inner, mask, index="relative").stored_bits == mask.size // 4 * (8 + 4)
    book = Codebook(np.ones(mask.shape, int), np.array([0, 9]))
    assert Sparse(book, mask).stored_bits == mask.size + mask.size // 4 + 2 * 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: decode_bitmap(np.ones(5, np.uint8), (4,), 2), "Bitmap of 4 weights must have 12 bits, not 5"),
        (lambda: decode_bitmap(np.zeros(3, np.uint8), (4,), 2), "Bitmap of 4 weights must have 4 bits, not 3"),
        (lambda: decode_relative(np.zeros(5, np.uint8), (4,), 2, 2),
         "Relative index must have whole entries of 4 bits, not 5 bits"),
        (lambda: decode_relative(np.zeros(20, np.uint8), (4,), 2, 2),
         "Relative index must end within 4 weights, not at 5"),
    ],
)  # fmt: skip
def test_damaged_bits(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_words_hold_every_kept_weight_once(seed, groups):
    """Every word is read as the lanes read it: value and channel of the block from each field."""
    rng = np.random.default_rng(seed)
    code = a_code(seed, (12, 5, 2, 3))
    cig, cog, taps = 12 // groups, 5, 6
    ti, to = int(rng.integers(1, code.span(cig, cig) + 1)), int(rng.integers(1, 6))
    words, blocks = code.words(ti, to, groups), code.word_blocks(ti, to, groups)
    counts = code.tap_issues(ti, to, groups)
    tiles = -(-cog // to)
    assert counts.shape == (groups * tiles, 2, 3) and counts.sum() == len(words) == len(blocks)
    assert words.min() >= 0 and words.max() < 1 << code.field_bits
    value_of = {0: 0} | dict(
        zip(
            code.inner.fields().ravel().tolist(),
            code.inner.integers().ravel().tolist(),
            strict=True,
        )
    )
    left, at = code.integers().copy(), 0
    kept = left != 0
    for (tile, ky, kx), count in np.ndenumerate(counts):
        group, cot = divmod(tile, tiles)
        unit = kept[group * cig : (group + 1) * cig, cot * to : (cot + 1) * to, ky, kx]
        need = sum(
            int(-(-unit[b : b + code.block].sum(0).max() // ti)) for b in range(0, cig, code.block)
        )
        assert count == max(need, 1), "issues of a tap"
        assert (np.diff(blocks[at : at + count]) >= 0).all()
        for word in range(at, at + count):
            for o, i in np.ndindex(to, ti):
                index, field = divmod(int(words[word, o, i]), 1 << code.inner.field_bits)
                # An index beyond the block, or the other code's zero, is a lane without work.
                if index < code.block and field != code.inner.zero_field:
                    channel = group * cig + int(blocks[word]) * code.span(ti, cig) + index
                    output = cot * to + o
                    assert value_of[field] == left[channel, output, ky, kx] != 0
                    left[channel, output, ky, kx] = 0
        at += count
    assert not left.any() and taps * groups * tiles == counts.size


def test_an_empty_layer_has_one_idle_word_a_tap():
    code = Sparse(Binary(np.ones((4, 3, 2, 2), int)), np.zeros((4, 3, 2, 2), bool), block=4)
    assert (code.tap_issues(2, 2, 1) == 1).all()
    assert (code.words(2, 2, 1) == code.idle).all() and code.idle == 4 << 1
    assert not code.word_blocks(2, 2, 1).any()


def test_index_bits():
    """One channel number more only where the inner code has no zero and the block fills the
    bits."""
    ones = np.ones((16, 1, 1, 1), int)
    for inner, block, bits in ((Linear(ones), 16, 4), (Ternary(ones), 9, 4), (PowerOfTwo(ones), 8, 3),
                               (Binary(ones), 16, 5), (Binary(ones), 15, 4),
                               (Codebook(ones, np.array([-1, 0])), 2, 1), (Codebook(ones, np.array([-1, 3])), 2, 2)):  # fmt: skip
        assert Sparse(inner, ones > 0, block).index_bits == bits


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_csr_and_csc_are_those_of_scipy(seed, groups):
    rng = np.random.default_rng(seed)
    code = Sparse(Linear(rng.integers(-127, 128, SHAPE)), rng.random(SHAPE) < 0.3)
    matrix = by_channel(code.integers(), groups)
    for made, oracle, back in ((to_csr(code, groups), scipy.sparse.csr_matrix(matrix), from_csr),
                               (to_csc(code, groups), scipy.sparse.csc_matrix(matrix), from_csc)):  # fmt: skip
        for ours, theirs in zip(made, (oracle.data, oracle.indices, oracle.indptr), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        restored = back((oracle.data, oracle.indices, oracle.indptr), SHAPE, groups, 8, block=4)
        np.testing.assert_array_equal(restored.integers(), code.integers())
        assert restored.block == 4


@pytest.mark.parametrize(
    ("data", "indices", "indptr", "message"),
    [
        ([1], [0], [0, 1], "Compressed pointers must be 3 rising numbers from 0"),
        ([1, 1], [0, 0], [0, 2, 1], "Compressed pointers must be 3 rising numbers from 0"),
        ([1, 2], [0], [0, 1, 1], "Compressed data and indices must have 1 entries, not 2 and 1"),
        ([1], [3], [0, 1, 1], "Compressed indices must be between 0 and 2"),
        ([1, 2], [1, 1], [0, 2, 2], "Compressed entries must be stored once"),
    ],
)
def test_wrong_compressed_rows(data, indices, indptr, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        from_csr((np.array(data), np.array(indices), np.array(indptr)), (3, 2, 1, 1), 1)


@pytest.mark.parametrize("percent", [0, 25, 50, 75, 90, 99])
@pytest.mark.parametrize("groups", [1, 3])
def test_balanced_pruning_keeps_the_same_number_everywhere(percent, groups):
    rng = np.random.default_rng(percent)
    weights = np.abs(rng.normal(0, 1, (30, 4, 2, 2)))
    mask = prune(weights, groups, percent, 8)
    for group in np.split(np.arange(30), groups):
        for first in range(0, len(group), 8):
            unit = group[first : first + 8]
            counts = mask[unit].sum(0)
            assert (counts == max(int(np.floor(len(unit) * (100 - percent) / 100 + 0.5)), 1)).all()
            # The largest stay.
            worst = np.where(mask[unit], weights[unit], np.inf).min(0)
            assert (np.where(mask[unit], 0, weights[unit]).max(0) <= worst).all()


def test_one_threshold_for_the_layer():
    weights = np.random.default_rng(0).normal(0, 1, (10, 5, 2, 2))
    code, scales = Sparse.encode(weights, 1, np.ones(10), sparsity=80, balanced=False)
    assert isinstance(code, Sparse)
    assert code.mask.sum() == 40
    np.testing.assert_array_equal(
        code.mask, np.abs(weights) >= np.sort(np.abs(weights).ravel())[-40]
    )


@pytest.mark.parametrize(
    "inner", ["linear", "linear:4", "power", "ternary", "binary", "codebook:8"]
)
def test_encoders_around_every_code(inner):
    """The error is the pruned part and what the inner code makes of the rest, at the best scale of
    every channel."""
    rng = np.random.default_rng(1)
    weights, power = rng.normal(0, 1, (32, 4, 2, 2)), np.ones(32)
    code, scales = Sparse.encode(weights, 1, power, **parse_spec(f"sparse:75+{inner}").options)
    assert isinstance(code, Sparse) and code.inner.kind == inner.split(":")[0]
    rows, q = by_channel(weights, 1), by_channel(code.integers(), 1)
    kept = prune(np.abs(weights), 1, 75, 16)
    assert not (code.mask & ~kept).any() and code.mask.sum() > 0.7 * kept.sum()
    pruned = (weights[~kept] ** 2).sum()
    error = ((q * scales[:, None] - rows) ** 2).sum()
    assert pruned <= error <= pruned + 0.2 * (weights[kept] ** 2).sum()
    assert (
        ((q * 1.01 * scales[:, None] - rows) ** 2).sum()
        > error
        < ((q * 0.99 * scales[:, None] - rows) ** 2).sum()
    )


@pytest.mark.parametrize("kind", INNER)
def test_program_file(kind, tmp_path):
    rng = np.random.default_rng(2)
    node = random_convolve(rng, code="sparse")
    while not isinstance(node.code, Sparse) or node.code.inner.kind != kind:
        node = random_convolve(rng, code="sparse")
    save_program(Program((node,)), tmp_path / "program.safetensors")
    code = load_program(tmp_path / "program.safetensors").nodes[0].code
    assert isinstance(code, Sparse) and code.parameters() == node.code.parameters()
    np.testing.assert_array_equal(code.integers(), node.code.integers())
    np.testing.assert_array_equal(code.words(1, 1, node.groups), node.code.words(1, 1, node.groups))


def test_effectual_macs_leave_out_pruned_weights():
    node = random_convolve(np.random.default_rng(0), code="sparse")
    ones = node.code.integers() != 0
    macs = 0
    for (_, _, ky, kx), kept in np.ndenumerate(ones):
        rows, columns = (sum(k == tap for taps in axis.table for k, _ in taps)
                         for axis, tap in ((node.y, ky), (node.x, kx)))  # fmt: skip
        macs += kept * rows * columns
    assert node.macs == macs


ONE = np.ones((1, 1, 1, 1), np.int64)
KEEP = ONE > 0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Sparse(ONE, KEEP), TypeError, r"^Sparse inner must be a code, not array\(.*$"),
        (lambda: Sparse(Affine(ONE, 2, 1), KEEP), ValueError,
         r"^Sparse inner must be one of linear, power, ternary, binary, codebook, not 'affine'$"),
        (lambda: Sparse(Linear(ONE), ONE), TypeError, r"^Sparse mask must be booleans, not int64$"),
        (lambda: Sparse(Linear(ONE), KEEP[0]), ValueError,
         r"^Sparse mask must have shape \(1, 1, 1, 1\) as the weights, not \(1, 1, 1\)$"),
        (lambda: Sparse(Linear(ONE), KEEP, 17), ValueError, r"^Sparse block must be between 2 and 16, not 17$"),
        (lambda: Sparse(Linear(ONE), KEEP, 8.0), TypeError, r"^Sparse block must be an integer, not 8\.0$"),
        (lambda: Sparse(Linear(ONE), KEEP, gap=9), ValueError, r"^Sparse gap must be between 2 and 8, not 9$"),
        (lambda: Sparse(Linear(ONE), KEEP, index="csr"), ValueError,
         r"^Sparse index must be one of bitmap, relative, not 'csr'$"),
        (lambda: Sparse.encode(ONE * 1.0, 1, np.ones(1), sparsity=100), ValueError,
         r"^sparsity must be between 0 and 99 percent, not 100$"),
        (lambda: Sparse.encode(ONE * 1.0, 1, np.ones(1), sparsity=7.5), TypeError,
         r"^sparsity must be an integer, not 7\.5$"),
        (lambda: Sparse.encode(ONE * 1.0, 1, np.ones(1), bits=4), ValueError, r"^sparse has no option 'bits'$"),
        (lambda: Sparse.encode(ONE * 1.0, 1, np.ones(1), inner=parse_spec("affine")), ValueError,
         r"^sparse must be around one of linear, power, ternary, binary, codebook, not 'affine'$"),
        (lambda: Sparse.restore({"inner": {"kind": "sparse"}}, {"mask": KEEP}), ValueError,
         r"^Sparse inner must be one of linear, power, ternary, binary, codebook, not 'sparse'$"),
    ],
)  # fmt: skip
def test_wrong_codes(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_every_inner_code_is_known():
    assert set(INNER) < set(CODES)


@given(st.integers(0, 500), st.sampled_from(["linear", "power", "ternary", "codebook", "affine"]))
def test_codes_without_zeros_have_the_same_other_integers(seed, kind):
    rng = np.random.default_rng(seed)
    shape = (5, 4, 2, 3)
    integers = rng.integers(-8, 8, shape)
    code: Code = {
        "linear": lambda: Linear(integers), "power": lambda: PowerOfTwo(np.sign(integers) * 4), "codebook": lambda: Codebook.of(integers),
        "ternary": lambda: Ternary(np.sign(integers), 5), "affine": lambda: Affine(integers + 8, 4, 8, 0),
    }[kind]()  # fmt: skip
    lean = code.without_zeros()
    kept = code.integers() != 0
    assert np.array_equal(lean.integers()[kept], code.integers()[kept])
    sparse = Sparse(lean, kept)
    assert np.array_equal(sparse.integers(), code.integers()) and np.array_equal(sparse.mask, kept)
    assert lean.kind == {"ternary": "binary", "affine": "codebook"}.get(kind, kind)
    if lean.kind == "codebook":
        assert 0 not in lean.centroids


def test_affine_weights_with_a_fraction_stay_affine_without_zeros():
    code = Affine(np.arange(24).reshape(2, 3, 2, 2) % 16, 4, 8 * 256 + 1)
    assert code.without_zeros() is code


def test_a_codebook_of_zeros_stays():
    code = Codebook.of(np.zeros((1, 2, 1, 1), np.int64))
    assert code.without_zeros() is code and not Sparse(code, np.ones((1, 2, 1, 1), bool)).mask.any()
