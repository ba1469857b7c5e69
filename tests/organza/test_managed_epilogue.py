"""Requantisation between managed exponents against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.managed_epilogue import ManagedEpilogue

TOP = (1 << 15) - 1


def epilogue(bias, base, bias_exponent=0, positive=1 << 14, negative=1 << 12):
    array = np.array([bias])
    return ManagedEpilogue(
        array, array * 0 + positive, array * 0 + negative, array * 0 + base, -TOP - 1, TOP, bias_exponent=bias_exponent
    )


@settings(max_examples=400)
@given(
    st.integers(-(2**40), 2**40), st.integers(-(2**31), 2**31 - 1), st.integers(-46, 0), st.integers(14, 45),
    st.integers(-31, 0), st.integers(-31, 0),
)  # fmt: skip
def test_it_is_real_arithmetic_rounded_twice(acc, bias, bias_exponent, base, e_in, e_out):
    """Once the bias, to a step of the sums of the image, and once the result, to a step of the output."""
    made = epilogue(bias, base, bias_exponent)
    if not 0 <= base + e_out - e_in <= 47:
        with pytest.raises(ValueError, match="^Epilogue shift must be between 0 and 47, not "):
            made.at(e_in, e_out)
        return
    low, high = made.outputs(e_in)
    assert low <= e_out <= high
    step = Fraction(2) ** (e_in - bias_exponent)  # of the sums, in steps of the bias
    aligned = floor(bias / step + Fraction(1, 2))
    if abs(aligned) >= 1 << 47:
        with pytest.raises(ValueError, match=r"^bias must stay below 2\*\*47 at exponent "):
            made.at(e_in, e_out)
        return
    assert made.aligned_bias(e_in).tolist() == [aligned]
    v = acc + aligned
    # base = 14 − e_w: an output step is 2**e_out, one of the sums 2**(e_in + e_w), and m a fraction of 2**14.
    real = Fraction(v) * Fraction(2) ** (e_in + 14 - base) * (1 if v >= 0 else Fraction(1, 4))
    wanted = floor(real / Fraction(2) ** e_out + Fraction(1, 2))
    chosen = made.at(e_in, e_out)
    assert chosen.rounded(np.array([acc])).tolist() == [wanted]
    assert chosen.compute(np.array([acc])).tolist() == [min(max(wanted, -TOP - 1), TOP)]


def test_alignment_rounds_half_up():
    """3 halves are 2, −3 halves −1."""
    made = epilogue(3, 20, -5)
    assert [made.aligned_bias(e)[0] for e in (-6, -5, -4, -3, 0)] == [6, 3, 2, 1, 0]
    made = epilogue(-3, 20, -5)
    assert [made.aligned_bias(e)[0] for e in (-6, -5, -4, -3, 0)] == [-6, -3, -1, -1, 0]


def test_the_largest_shifts_of_a_bias():
    made = epilogue(-(2**31), 20, -62)
    assert made.aligned_bias(0).tolist() == [0]
    assert made.aligned_bias(-31).tolist() == [-1]
    assert epilogue(2**31 - 1, 20, -62).aligned_bias(-31).tolist() == [1]
    assert epilogue(0, 20, 62).aligned_bias(-31).tolist() == [0]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: epilogue(2**31, 0), ValueError, r"^Epilogue bias must be between -2147483648 and 2147483647, not "),
        (lambda: epilogue(0, 79), ValueError, r"^Epilogue shift must be between -31 and 78, not 79…79$"),
        (lambda: epilogue(0, -32), ValueError, r"^Epilogue shift must be between -31 and 78, not -32…-32$"),
        (lambda: epilogue(0, 0, 63), ValueError, r"^Epilogue bias_exponent must be between -62 and 62, not 63$"),
        (lambda: epilogue(0, 0, 0.5), TypeError, r"^Epilogue bias_exponent must be an integer, not 0\.5$"),
        (lambda: epilogue(1 << 20, 0, 10).aligned_bias(-20), ValueError, r"^bias must stay below 2\*\*47 at exponent -20, not need 51 bits$"),
    ],
)  # fmt: skip
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
