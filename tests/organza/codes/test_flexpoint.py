"""Flexpoint: mantissas and exponents against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.codes import Flexpoint
from organza.codes.spec import CodeSpec, parse_spec
from organza.errors import UserError
from organza.exponents import covering_exponent
from organza.float_layers import FloatLayer
from organza.formats import Fixed, Flex, restore_format
from organza.geometry import Axis
from organza.graph import Activation
from organza.program import Convolve
from organza.quantize import quantize

ONE = np.ones((1, 1, 1, 1), np.int64)
REALS = st.floats(-(2.0**15) + 1, 2.0**15 - 1, allow_nan=False)
EXPONENTS = st.integers(-31, 0)


@given(st.lists(REALS, min_size=1, max_size=20))
def test_encoder_takes_the_smallest_exponent_that_holds_all(values):
    weights = np.array(values).reshape(-1, 1, 1, 1)
    code, scales = Flexpoint.encode(weights, 1, np.ones(len(values)))
    step = Fraction(2) ** code.exponent
    assert scales.tolist() == [float(step)]
    for mantissa, value in zip(code.integers().ravel().tolist(), values, strict=True):
        # Half a step; the largest magnitude may round up to 2**15 and is held back.
        assert abs(mantissa * step - Fraction(value)) <= (step if abs(mantissa) == 32767 else step / 2)
    assert code.exponent == -31 or max(abs(Fraction(v)) for v in values) >= 2**14 * step
    assert code.stored_bits == 16 * len(values) + 5


@given(REALS, EXPONENTS)
def test_format_rounds_half_up_and_clamps(value, exponent):
    fmt = Flex(exponent)
    exact = min(max(floor(Fraction(value) / Fraction(2) ** exponent + Fraction(1, 2)), -32768), 32767)
    assert fmt.quantize(np.array([value])).tolist() == [exact]
    assert Fraction(float(fmt.dequantize(np.array([exact]))[0])) == exact * Fraction(2) ** exponent


@given(st.floats(2.0**-20, 2.0**15 - 1), st.sampled_from([1.0, 2.0]))
def test_covering_exponent_is_the_smallest(peak, headroom):
    exponent = covering_exponent(peak, headroom=headroom)
    reach = Fraction(peak) * Fraction(headroom)
    assert reach < 2**15 * Fraction(2) ** exponent or exponent == 0
    assert exponent == -31 or reach >= 2**14 * Fraction(2) ** exponent


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 2), (5, 2), (4, 1)]))
def test_a_layer_is_real_arithmetic_rounded_once(seed, shape):
    """Convolution by PyTorch on integers; everything behind it as rational numbers, without any shift."""
    rng = np.random.default_rng(seed)
    kernel, stride = shape
    axis = Axis(size=3, kernel=kernel, up=stride, crop_before=1, crop_after=1)
    slope = float(rng.choice([0, 0.25, 1]))
    weights = rng.normal(0, 2.0 ** rng.integers(-10, 3), (4, 2, kernel, kernel))
    layer = FloatLayer(
        name="layer", weights=weights, bias=rng.normal(0, 1, 2), y=axis, x=axis,
        activation=Activation(slope=np.array([slope])),
    )  # fmt: skip
    x = rng.normal(0, 2.0 ** rng.integers(-4, 8), (3, 4, 3, 3))
    program = quantize([layer], x, codes={"layer": CodeSpec("flexpoint")})
    (node,) = program.nodes
    assert isinstance(node.code, Flexpoint)
    assert isinstance(node.input, Flex)
    assert isinstance(node.output, Flex)
    assert set(node.epilogue.positive) == {1 << 14}
    integers = program.quantize(x)
    (got,) = program.run_layers(integers)
    sums = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(integers), torch.from_numpy(node.code.integers()), stride=stride, padding=1
    ).numpy()
    unit = Fraction(2) ** (node.code.exponent + node.input.exponent)
    for index in np.ndindex(*got.shape):
        real = (int(sums[index]) + int(node.epilogue.bias[index[1]])) * unit
        real *= Fraction(slope) if real < 0 else 1
        wanted = floor(real / Fraction(2) ** node.output.exponent + Fraction(1, 2))
        assert got[index] == min(max(wanted, -32768), 32767)
    # And the bias is the layer's, to half a step of the sums.
    assert np.abs(node.epilogue.bias * float(unit) - layer.bias).max() <= float(unit) / 2


def chain(codes: dict[str, CodeSpec], scale: float = 1.0) -> tuple[Convolve, ...]:
    rng = np.random.default_rng(0)
    point = Axis(size=2, kernel=1)
    layers = [
        FloatLayer(name=name, weights=rng.normal(0, scale, (2, 2, 1, 1)), bias=rng.normal(0, 1, 2), y=point, x=point)
        for name in "abc"
    ]
    return quantize(layers, rng.normal(0, 1, (4, 2, 2, 2)), codes=codes).nodes


def test_a_joint_has_the_format_of_its_consumer():
    a, b, c = chain({"b": CodeSpec("flexpoint")})
    assert isinstance(a.input, Fixed)
    assert isinstance(a.output, Flex)
    assert b.input == a.output
    assert isinstance(b.output, Fixed)
    assert isinstance(c.output, Fixed)
    *_, c = chain({"c": CodeSpec("flexpoint")})
    assert isinstance(c.input, Flex)
    assert isinstance(c.output, Flex)


def test_what_exponents_cannot_say_is_the_users_error():
    with pytest.raises(UserError, match="another weight code than flexpoint"):
        chain({"b": CodeSpec("flexpoint")}, scale=1e6)
    with pytest.raises(UserError, match=r"^a: flexpoint values must stay below 32768, not reach "):
        chain({"a": CodeSpec("flexpoint")}, scale=1e6)


def test_a_bias_without_weights_is_kept():
    point = Axis(size=1, kernel=1)
    layer = FloatLayer(name="a", weights=np.full((1, 1, 1, 1), 1e-12), bias=np.array([3.0]), y=point, x=point)
    program = quantize([layer], np.full((4, 1, 1, 1), 1e-3), codes={"a": CodeSpec("flexpoint")})
    made = program.dequantize(program.run(program.quantize(np.zeros((1, 1, 1, 1)))))
    assert made.item() == pytest.approx(3.0, abs=2e-4)


def test_formats_come_back_from_json():
    assert restore_format(Flex(-7).parameters()) == Flex(-7)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Flexpoint(ONE, 1), ValueError, r"^Flexpoint exponent must be between -31 and 0 \(5 bits\), not 1$"),
        (lambda: Flexpoint(ONE, -32), ValueError, r"^Flexpoint exponent must be between -31 and 0 \(5 bits\), not -32$"),
        (lambda: Flexpoint(ONE, 0.5), TypeError, r"^Flexpoint exponent must be an integer, not 0\.5$"),
        (lambda: Flexpoint(ONE << 15, 0), ValueError, r"^Flexpoint mantissas must be between -32768 and 32767$"),
        (lambda: Flexpoint(ONE * 0.5, 0), TypeError, r"^Flexpoint weights must be integers, not float64$"),
        (lambda: Flex(-32), ValueError, r"^Flex exponent must be between -31 and 0 \(5 bits\), not -32$"),
        (lambda: Flex(True), TypeError, r"^Flex exponent must be an integer, not True$"),
        (lambda: Flex(0).quantize(np.array([np.nan])), ValueError, r"^Values to quantize must be finite"),
        (lambda: Flexpoint.encode(ONE * 1e5, 1, np.ones(1)), ValueError, r"^flexpoint values must stay below 32768"),
        (lambda: Flexpoint.encode(ONE, 1, np.ones(1), bits=3), ValueError, r"^flexpoint has no option 'bits'$"),
        (lambda: parse_spec("flexpoint:a"), UserError, r"^code flexpoint takes "),
    ],
)  # fmt: skip
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
