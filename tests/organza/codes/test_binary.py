"""Binary weights whose lanes have approximate adders: the reference against full adders, and how far sums can be off."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from organza.adders import EXACT, Adder
from organza.codes import Binary, Huffman, Linear, Sparse
from organza.formats import Fixed, Sign
from organza.program import Convolve
from organza.reference import accumulate
from tests import bitwise
from tests.strategies import random_convolve, random_input


def sums_by_hand(node: Convolve, image: np.ndarray) -> np.ndarray:
    """Sums (co, height, width) of an image (ci, height, width): one output, tap and tile of Ti channels after the other."""
    code = node.code
    (ci, cog, _, _), ti = code.shape, code.ti
    cig = ci // node.groups
    made = np.zeros(node.output_shape, np.int64)
    for co, (y, rows), (x, columns) in itertools.product(range(node.co), enumerate(node.y.table), enumerate(node.x.table)):
        first = co // cog * cig
        for (ky, iy), (kx, ix), start in itertools.product(rows, columns, range(0, cig, ti)):
            channels = range(first + start, first + min(start + ti, cig))
            missing = [0] * (ti - len(channels))
            made[co, y, x] += bitwise.issue(
                code.adder.kind, code.adder.low,
                [int(image[c, iy, ix]) for c in channels] + missing,
                [int(code.weights[c, co % cog, ky, kx] < 0) for c in channels] + missing,
                node.input.bits, node.input.signed,
            )  # fmt: skip
    return made


@pytest.mark.parametrize("seed", range(40))
def test_reference(seed):
    rng = np.random.default_rng(seed)
    node = random_convolve(rng, code="approximate", max_channels=9, max_macs=1500)
    x = random_input(rng, node, 2)
    sums = accumulate(node, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for image, got in zip(x, sums, strict=True):
        np.testing.assert_array_equal(got, sums_by_hand(node, image))
    assert (np.abs(sums).max((0, 2, 3)) + np.abs(node.epilogue.bias) <= node.sum_bound).all()
    assert int(node.sum_bound.max()) < 1 << (node.accumulator_bits - 1)
    exact = accumulate(replace(node, code=Binary(node.code.weights)), x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.abs(sums - exact).max() <= node.code.sum_error(node.groups)


def test_the_layers_cover_what_matters():
    nodes = [random_convolve(np.random.default_rng(s), code="approximate", max_channels=9, max_macs=1500) for s in range(40)]
    assert {node.code.adder.kind for node in nodes} == {"loa", "notcarry"}
    assert any(node.groups > 1 and node.ci > node.groups for node in nodes)
    assert any(node.ci // node.groups % node.code.ti for node in nodes)
    assert any(node.ci // node.groups > node.code.ti for node in nodes)
    assert {node.input.signed for node in nodes} == {False, True}
    assert not all(all(axis.table) for node in nodes for axis in (node.y, node.x))  # positions without a tap


@pytest.mark.parametrize("kind", ["loa", "notcarry"])
def test_the_same_lanes_with_exact_adders_add(kind, monkeypatch):
    """Operands, tiles and corrections of both forms, with nothing approximate about them."""
    rng = np.random.default_rng(1)
    node = random_convolve(rng, code="binary", input_shape=(6, 3, 3), groups=False)
    node = replace(node, code=Binary(node.code.weights, Adder(kind, 3), 4))
    monkeypatch.setattr(Adder, "compute", lambda self, a, b: a + b)
    x = random_input(rng, node, 3).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(accumulate(node, x), accumulate(replace(node, code=Binary(node.code.weights)), x))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("ti", [2, 3])
@pytest.mark.parametrize("kind", ["loa", "notcarry"])
def test_every_sum_of_few_bits_is_within_the_bound(kind, ti, signed):
    """All activations of 4 bits with all weights; the bound is reached up to the last bit for pairs."""
    values = np.arange(16) - 8 * signed
    x = np.stack(np.meshgrid(*[values] * ti, indexing="ij"), -1).reshape(-1, ti)
    fields = np.array(list(itertools.product([1, -1], repeat=ti))).T  # (ti, 2**ti)
    for low in range(1, 5):
        code = Binary(fields.reshape(ti, -1, 1, 1), Adder(kind, low), ti)
        error = np.abs(code.lane_sums(x, slice(None), 0, 0) - x @ fields).max()
        assert error <= code.sum_error(1)
        assert ti > 2 or error == code.sum_error(1)


def test_sums_do_not_depend_on_how_many_pixels_come_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    code = Binary(rng.choice([-1, 1], (9, 3, 1, 1)), Adder("loa", 3), 4)
    x = rng.integers(0, 256, (50, 9))
    whole = code.lane_sums(x, slice(None), 0, 0)
    monkeypatch.setattr("organza.codes.binary._ELEMENTS", 1)
    np.testing.assert_array_equal(code.lane_sums(x, slice(None), 0, 0), whole)


def test_wide_activations():
    """16 bits through a tree of 4,096 lanes and through one of more, which adds up in 64 bits."""
    for ti in (4096, 5000):
        code = Binary(np.full((ti, 1, 1, 1), -1), Adder("loa", 1), ti)
        exact = -ti * ((1 << 16) - 2)
        assert code.lane_sums(np.full((1, ti), (1 << 16) - 2), slice(None), 0, 0).item() == exact


REAL = np.random.default_rng(0).normal(size=(12, 2, 3, 3))
POWER = np.ones(12)


@pytest.mark.parametrize(
    ("options", "groups", "adder", "ti"),
    [
        ({}, 1, EXACT, None),
        ({"loa": 4}, 1, Adder("loa", 4), 8),
        ({"activations": 8, "notcarry": 2, "ti": 5}, 1, Adder("notcarry", 2), 5),
        ({"loa": 1, "ti": 99}, 1, Adder("loa", 1), 12),
        ({"loa": 1}, 3, Adder("loa", 1), 4),
    ],
)
def test_options(options, groups, adder, ti):
    code, scales = Binary.encode(REAL, groups, POWER, **options)
    plain, same = Binary.encode(REAL, groups, POWER)
    assert isinstance(code, Binary)
    assert (code.adder, code.ti) == (adder, ti)
    np.testing.assert_array_equal(code.integers(), plain.integers())
    np.testing.assert_array_equal(scales, same)
    assert code.stored_bits == plain.stored_bits  # nothing is stored for an adder


def loa(ti: int = 2) -> Binary:
    return Binary(np.ones((6, 2, 1, 1), int), Adder("loa", 4), ti)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Binary.encode(REAL, 1, POWER, loa=4, notcarry=2), ValueError, "binary takes one adder, not loa4 and notcarry2"),
        (lambda: Binary.encode(REAL, 1, POWER, loa=17), ValueError, "loa adder must have 1 to 16 low bits, not 17"),
        (lambda: Binary.encode(REAL, 1, POWER, loa=4, ti=0), ValueError, "Binary ti must be between 1 and 12, the input channels, not 0"),
        (lambda: Binary.encode(REAL, 1, POWER, ti=4), ValueError, "binary takes ti only with approximate adders, loaN or notcarryN"),
        (lambda: Binary.encode(REAL, 1, POWER, activations=1, loa=4), ValueError,
         "binary adders must be exact where activations are signs, not loa4"),
        (lambda: Binary.encode(REAL, 1, POWER, activations=4), ValueError, "binary activations must have 1 or 8 bits, not 4"),
        (lambda: Binary(np.ones((6, 2, 1, 1), int), ti=3), ValueError, "Binary ti must be None with exact adders, not 3"),
        (lambda: Binary(np.ones((6, 2, 1, 1), int), Adder("loa", 4)), TypeError, "Binary ti must be an integer with loa4 adders, not None"),
        (lambda: loa(7), ValueError, "Binary ti must be between 1 and 6, the input channels, not 7"),
        (lambda: Huffman(loa()), ValueError, "huffman must be around binary weights with exact adders, not loa4"),
        (lambda: Sparse(loa(), np.ones((6, 2, 1, 1), bool)), ValueError, "sparse must be around binary weights with exact adders, not loa4"),
        (lambda: Linear(np.ones((6, 2, 1, 1), int)).lane_sums(np.ones((1, 6)), slice(None), 0, 0), NotImplementedError,
         "linear lanes have exact adders only"),
    ],
)  # fmt: skip
def test_what_is_refused(make, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        make()


def test_layers_that_no_lanes_can_run():
    node = random_convolve(np.random.default_rng(0), code="approximate", input=Fixed(8, False, 1.0), input_shape=(6, 2, 2), groups=False)
    wide = replace(node, code=Binary(node.code.weights, Adder("loa", 8), 6))
    assert wide.code.label == "binary:loa8:ti6"
    with pytest.raises(ValueError, match=r"^layer: binary code must have numbers of at least 9 bits as activations with loa9 adders, not Fixed\(bits=8,"):
        replace(wide, code=Binary(wide.code.weights, Adder("loa", 9), 6))
    with pytest.raises(ValueError, match=r"^layer: binary code must have numbers of at least 1 bits as activations with loa1 adders, not Sign\("):
        replace(wide, code=Binary(wide.code.weights, Adder("loa", 1), 6), input=Sign(1.0))
    layers = (random_convolve(np.random.default_rng(s), code="binary", input_shape=(6, 2, 2), max_channels=6) for s in itertools.count())
    grouped = next(layer for layer in layers if layer.groups > 1)
    with pytest.raises(ValueError, match="^layer: code is for 6×any lanes, a group has "):
        replace(grouped, code=Binary(grouped.code.weights, Adder("loa", 1), 6))
