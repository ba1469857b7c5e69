"""Lossless forms: the integers stay, and the bits are what other libraries and formulas count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from organza.codes import Affine, Binary, Codebook, Linear, Sparse, Ternary
from organza.codes.spec import CodeSpec
from organza.compress.storage import FORMS, Storage
from organza.float_layers import Coded

SHAPE = (16, 8, 4, 4)


def pruned(seed: int, share: float, bits: int = 4) -> tuple[Coded, np.ndarray]:
    """Linear weights of which `share` is pruned, and the mask."""
    rng = np.random.default_rng(seed)
    top = (1 << (bits - 1)) - 1
    mask = rng.random(SHAPE) >= share
    weights = np.where(mask, rng.integers(1, top + 1, SHAPE) * rng.choice([-1, 1], SHAPE), 0)
    return Coded(code=Linear(weights, bits), scales=np.ones(8), spec=CodeSpec("linear", {"bits": bits})), mask


@given(st.sampled_from(FORMS), st.integers(0, 99), st.sampled_from([0.0, 0.5, 0.9]))
def test_no_form_changes_an_integer(form, seed, share):
    coded, mask = pruned(seed, share)
    made = Storage(form).wrap(coded, mask)
    assert np.array_equal(made.code.integers(), coded.code.integers())
    assert made.spec == coded.spec and np.array_equal(made.scales, coded.scales)


@given(st.integers(0, 99), st.sampled_from([0.25, 0.75, 0.9]))
def test_bits_are_those_of_the_formulas(seed, share):
    coded, mask = pruned(seed, share)
    kept = int(mask.sum())
    bits = {form: Storage(form).bits(Storage(form).wrap(coded, mask).code, 1) for form in FORMS}
    assert bits["dense"] == 4 * mask.size
    assert bits["bitmap"] == mask.size + 4 * kept
    assert bits["auto"] == min(bits["bitmap"], bits["relative"])
    chip = [bits[form] for form in ("dense", "bitmap", "relative", "huffman", "rle")]
    assert bits["smallest"] == min(chip)
    matrix = sparse.csr_matrix(coded.code.integers().transpose(1, 0, 2, 3).reshape(8, -1))
    columns, pointer = (16 * 16 - 1).bit_length(), kept.bit_length()
    assert bits["csr"] == matrix.nnz * (4 + columns) + len(matrix.indptr) * pointer
    other = matrix.tocsc()
    assert bits["csc"] == other.nnz * (4 + 3) + len(other.indptr) * pointer


@given(st.integers(0, 99))
def test_huffman_comes_within_a_bit_of_the_entropy(seed):
    coded, mask = pruned(seed, 0.5)
    _, counts = np.unique(coded.code.integers(), return_counts=True)
    entropy = -(counts / mask.size * np.log2(counts / mask.size)).sum()
    per_weight = Storage("huffman").bits(Storage("huffman").wrap(coded, mask).code, 1) / mask.size
    assert entropy <= per_weight <= entropy + 1 + 0.3  # tables: 15 lengths of 16 bits, 15 symbols of 4


def test_the_best_gap_and_run_are_taken_unless_given():
    coded, mask = pruned(0, 0.9)
    best = Storage("relative").wrap(coded, mask).code
    assert isinstance(best, Sparse)
    assert best.stored_bits == min(Storage("relative", gap=gap).wrap(coded, mask).code.stored_bits for gap in range(2, 9))
    runs = [Storage("rle", run_bits=bits).wrap(coded, mask).code.stored_bits for bits in range(1, 9)]
    assert Storage("rle").wrap(coded, mask).code.stored_bits == min(runs)


def test_what_is_not_pruned_stays_dense_by_default():
    coded, _ = pruned(0, 0.0)
    assert Storage().wrap(coded, None).code is coded.code


def test_codes_without_zero_keep_their_index():
    rng = np.random.default_rng(0)
    inner = Binary(rng.choice([-1, 1], SHAPE))
    code = Sparse(inner, rng.random(SHAPE) < 0.5)
    coded = Coded(code=code, scales=np.ones(8), spec=CodeSpec("binary"))
    for form in ("auto", "relative", "smallest"):
        assert np.array_equal(Storage(form).wrap(coded, code.mask).code.integers(), code.integers())
    for form in ("dense", "huffman", "rle"):
        with pytest.raises(ValueError, match="^a binary code without zero needs bitmap or relative"):
            Storage(form).wrap(coded, code.mask)


def test_codes_that_cannot_say_zero_or_skip_are_refused():
    rng = np.random.default_rng(0)
    affine = Affine(rng.integers(0, 4, SHAPE), 2, offset=300)
    coded = Coded(code=affine, scales=np.ones(8), spec=CodeSpec("affine", {"bits": 2}))
    with pytest.raises(ValueError, match="^bitmap must be around one of linear, .*, not 'affine'$"):
        Storage("bitmap").wrap(coded, None)
    with pytest.raises(ValueError, match="^a affine code cannot say 0 for pruned weights"):
        Storage().wrap(coded, rng.random(SHAPE) < 0.5)
    assert Storage().wrap(coded, None).code is affine


@pytest.mark.parametrize("code", [
    Ternary(np.random.default_rng(1).integers(-1, 2, SHAPE)),
    Codebook(np.random.default_rng(1).integers(0, 8, SHAPE), np.arange(-4, 4) * 9),
])  # fmt: skip
def test_other_codes_take_every_form(code):
    coded = Coded(code=code, scales=np.ones(8), spec=CodeSpec(code.kind))
    for form in FORMS:
        made = Storage(form).wrap(coded, None)
        assert np.array_equal(made.code.integers(), code.integers()) and Storage(form).bits(made.code, 1) > 0


@pytest.mark.parametrize("form", ["huffman", "rle", "smallest"])
def test_five_ternary_weights_in_a_byte_are_taken_apart_for_codes_around_them(form):
    """What stands inside another code has two bits; five in a byte stay where that is the smallest."""
    weights = np.random.default_rng(0).choice([-1, 0, 1], (4, 3, 3, 3), p=[0.02, 0.96, 0.02] if form != "smallest" else [1 / 3] * 3)
    made, plain = (
        Storage(form).wrap(Coded(code=Ternary(weights, per_byte=per_byte), scales=np.ones(3), spec=CodeSpec("ternary", {})), None).code
        for per_byte in (5, 4)
    )
    assert np.array_equal(made.integers(), weights) and made.stored_bits == plain.stored_bits
    assert made.kind == ("ternary" if form == "smallest" else form)
