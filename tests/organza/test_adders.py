"""Approximate adders against full adders, exhaustively, and what they can be wrong by."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.adders import EXACT, Adder
from tests import bitwise

KINDS = ("loa", "notcarry")


def every_pair(width: int, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    values = np.arange(1 << width) - (1 << width >> 1) * signed
    a, b = np.meshgrid(values, values, indexing="ij")
    return a.ravel(), b.ravel()


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("width", range(1, 6))
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_few_bits(kind, width, signed):
    a, b = every_pair(width, signed)
    for low in range(1, width + 1):
        wanted = [bitwise.add(kind, low, p, q, width, signed) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
        assert Adder(kind, low).compute(a, b).tolist() == wanted, low


def planes(kind: str, low: int, a: np.ndarray, b: np.ndarray, width: int) -> np.ndarray:
    """`bitwise.add` of unsigned arrays, a place at a time."""
    carry, total = np.zeros_like(a), np.zeros_like(a)
    for place in range(width + 1):
        p, q = a >> place & 1, b >> place & 1
        out = p & q | p & carry | q & carry
        if kind == "loa" and place < low:
            bit, out = p | q, p & q
        else:
            bit = 1 - out if kind == "notcarry" and place < low else p ^ q ^ carry
        total, carry = total + (bit << place), out
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_eight_bits(kind):
    """65,536 pairs for every number of low bits; two's complement is the same places once more."""
    for signed in (False, True):
        a, b = every_pair(8, signed)
        for low in range(1, 9):
            made = Adder(kind, low).compute(a, b)
            assert np.array_equal(made % 512, planes(kind, low, a % 512, b % 512, 8)), (low, signed)
            limits = (-256, 255) if signed else (0, 511)
            assert limits[0] <= made.min() and made.max() <= limits[1]


@pytest.mark.parametrize("low", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_the_error_is_the_largest(kind, low):
    a, b = every_pair(8, False)
    assert np.abs(Adder(kind, low).compute(a, b) - a - b).max() == Adder(kind, low).error


def test_loa_is_right_with_zero():
    values = np.arange(-300, 300)
    for low in range(1, 17):
        assert np.array_equal(Adder("loa", low).compute(values, 0 * values), values)
        assert np.array_equal(Adder("loa", low).compute(0 * values, values), values)


@given(
    kind=st.sampled_from(KINDS), low=st.integers(1, 16), signed=st.booleans(),
    extra=st.integers(0, 4), raw=st.lists(st.integers(0, (1 << 20) - 1), min_size=1, max_size=40),
)  # fmt: skip
def test_trees(kind, low, signed, extra, raw):
    width = low + extra
    terms = [bitwise.value_of(bitwise.bits_of(value, width), signed) for value in raw]
    made = int(Adder(kind, low).tree(np.array(terms)))
    assert made == bitwise.tree(kind, low, [(term, width) for term in terms], signed)
    assert abs(made - sum(terms)) <= (len(terms) - 1) * Adder(kind, low).error
    assert int(EXACT.tree(np.array(terms))) == sum(terms)


def test_names():
    for adder in (EXACT, Adder("loa", 4), Adder("notcarry", 16)):
        assert Adder.parse(str(adder)) == adder
    assert [str(adder) for adder in (EXACT, Adder("loa", 4))] == ["exact", "loa4"]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Adder("ripple", 2), ValueError, "adder must be one of exact, loa, notcarry, not 'ripple'"),
        (lambda: Adder("loa", 0), ValueError, "loa adder must have 1 to 16 low bits, not 0"),
        (lambda: Adder("notcarry", 17), ValueError, "notcarry adder must have 1 to 16 low bits, not 17"),
        (lambda: Adder("exact", 1), ValueError, "exact adder must have 0 low bits, not 1"),
        (lambda: Adder("loa", 2.0), TypeError, "adder low bits must be an integer, not 2.0"),
        (lambda: Adder.parse(3), TypeError, "adder must be text, not 3"),
        (lambda: Adder.parse("loa-4"), ValueError, "adder must be exact, loaN or notcarryN, not 'loa-4'"),
    ],
)
def test_wrong_adders(make, kind, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        make()
