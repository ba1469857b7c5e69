# amaranth: UnusedElaboratable=no
"""Requantisation with exponents that change from image to image, against its software twin."""

import numpy as np
import pytest
from amaranth.hdl import Fragment, Shape, signed

from organza.codes import Linear
from organza.exponents import ExponentRule
from organza.formats import Fixed, Flex, Managed
from organza.geometry import Axis
from organza.managed_epilogue import ManagedEpilogue
from organza.program import Convolve
from organza_hw.epilogue import EpilogueUnit, _shape_of
from organza_hw.image_exponents import ImageExponents
from organza_hw.managed_epilogue import ALIGN_LATENCY, BiasShift, ManagedUnit
from organza_hw.rom import Rom
from organza_sim.pysim import trace_cycles

TOP = (1 << 15) - 1


def node(*, bias, shift, bias_exponent=0, input=None, output=None, positive=1 << 14, negative=0, table=None):
    """A layer with sums of up to 31 bits, one output channel for each bias."""
    output = output or Managed.of(ExponentRule(initial=-9))
    bias = np.asarray(bias, np.int64)
    ones = np.ones(len(bias), np.int64)
    low, high = (-TOP - 1, TOP) if table is None else (-8, 7)
    return Convolve(
        name="n", y=Axis(size=1, kernel=1), x=Axis(size=1, kernel=1), groups=1,
        code=Linear(np.full((1, len(bias), 1, 1), TOP), 16),
        epilogue=ManagedEpilogue(bias, ones * positive, ones * negative, ones * shift, low, high, table, bias_exponent=bias_exponent),
        input=input or Managed.of(ExponentRule(initial=-10)), output=output,
    )  # fmt: skip


def unit_of(layer, output=None):
    e = layer.epilogue
    shapes = {name: _shape_of(int(getattr(e, name).min()), int(getattr(e, name).max())) for name in ("bias", "positive", "negative", "shift")}
    return ManagedUnit(layer, sum_bits=layer.accumulator_bits, output=output or signed(16), **shapes)


def play(layer, cases, output=None):
    """Cases (channel, sum, e_in, e_out), one a cycle, and what came out of each: q, wide."""
    unit, e = unit_of(layer, output), layer.epilogue
    origin = BiasShift(layer).origin
    inputs = [
        {"sum": s, "e_in": e_in, "e_out": e_out, "right": e_in - origin,
         **{name: int(getattr(e, name)[channel]) for name in ("bias", "positive", "negative", "shift")}}
        for channel, s, e_in, e_out in cases
    ]  # fmt: skip
    seen = trace_cycles(unit, inputs + [{}] * unit.latency, ["q", "wide"])
    return seen[unit.latency :]


def expected(layer, cases):
    made = []
    for channel, s, e_in, e_out in cases:
        chosen = layer.epilogue.at(e_in, e_out)
        rounded = chosen.rounded(np.full(len(chosen.bias), s))
        made.append((int(chosen.clamped(rounded)[channel]), int(rounded[channel])))
    return made


def random_cases(rng, layer, count):
    bound, made = int(layer.dot_bound.max()), []
    for _ in range(count):
        e_in = int(rng.choice(layer.input_exponents))
        low, high = layer.output_exponents(e_in)
        s = int(rng.integers(-bound, bound + 1)) >> int(rng.integers(0, 31))
        made.append((int(rng.integers(layer.co)), s, e_in, int(rng.integers(low, high + 1))))
    return made


LAYERS = {
    "both managed": node(bias=[3, -700, 1 << 24, -(1 << 26), 0], shift=30, bias_exponent=-12),
    "all biases positive": node(bias=[255, 128, 1], shift=30, bias_exponent=-9),
    "biases that only move left": node(bias=[1, -1, 77], shift=28, bias_exponent=0, negative=1 << 12),
    "biases that only move right": node(bias=[TOP << 15, -TOP << 15], shift=33, bias_exponent=-40, negative=-(1 << 14)),
    "biases that vanish": node(bias=[-5, 5], shift=20, bias_exponent=-62),
    "no bias": node(bias=[0, 0], shift=14, bias_exponent=-11),
    "frozen input": node(bias=[1 << 20, -3], shift=39, bias_exponent=3, input=Fixed(8, True, 0.5)),
    "frozen output": node(bias=[9, -9999], shift=15, bias_exponent=-10, output=Flex(-3), negative=1 << 14),
}  # fmt: skip
TABLED = node(
    bias=[40, -40], shift=16, bias_exponent=-8, output=Fixed(8, True, 1.0), table=np.arange(-8, 8) ** 3 // 4,
    input=Managed.of(ExponentRule(initial=-8, low=-20)),
)  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_random_images(name):
    layer = LAYERS[name]
    cases = random_cases(np.random.default_rng(0), layer, 1500)
    assert play(layer, cases) == expected(layer, cases)


def test_every_exponent():
    """All pairs that a layer allows, with sums on both sides of a rounding boundary."""
    layer = LAYERS["both managed"]
    cases = []
    for e_in in layer.input_exponents:
        low, high = layer.output_exponents(e_in)
        for e_out in range(low, high + 1):
            half = 1 << max(layer.epilogue.shift[0] + e_out - e_in - 15, 0)
            bias = int(layer.epilogue.aligned_bias(e_in)[1])
            cases += [(1, int(np.clip(half + d - bias, -(1 << 30), 1 << 30)), e_in, e_out) for d in (-1, 0)]
    assert len(cases) > 1000
    assert play(layer, cases) == expected(layer, cases)


def test_a_table_behind_run_time_shifts():
    cases = random_cases(np.random.default_rng(1), TABLED, 800)
    assert [q for q, _ in play(TABLED, cases, signed(8))] == [q for q, _ in expected(TABLED, cases)]


def test_latencies():
    """Of the bias, of the table."""
    for layer, more, bits in (
        (LAYERS["both managed"], ALIGN_LATENCY, 5), (LAYERS["frozen input"], 0, 1), (TABLED, ALIGN_LATENCY + Rom.LATENCY, 5)
    ):  # fmt: skip
        unit = unit_of(layer)
        Fragment.get(unit, None)
        assert unit.latency == EpilogueUnit.latency_of(layer.accumulator_bits) + more
        assert Shape.cast(unit.right.shape()).width == bits


@pytest.mark.parametrize("name", ["both managed", "frozen input", "frozen output"])
def test_exponents_of_an_image(name):
    """Input from the header, output by the rule within what keeps shifts in range, `right` for the bias; each image two cycles later."""
    layer = LAYERS[name]
    rng = np.random.default_rng(2)
    images, later = 60, ImageExponents.LATENCY
    e_in = rng.choice(layer.input_exponents, images).tolist() if isinstance(layer.input, Managed) else [0] * images
    managed = isinstance(layer.output, Managed)
    values = rng.integers(-(1 << 20), 1 << 20, images) >> rng.integers(0, 20, images)
    inputs, begins = [], []
    for image in range(images):
        header = {"header.payload": e_in[image], "header.valid": 1} if isinstance(layer.input, Managed) else {}
        begins.append(len(inputs))
        inputs.append({"begin": 1, **header})
        inputs.append({"begin": 0} | ({"header.valid": 0} if header else {}))
        value = int(values[image])
        if managed:
            wide = {"wide": [value], "values": [min(max(value, -TOP - 1), TOP)], "count": 1, "end": 1}
            inputs += [wide, {"count": 0, "end": 0}, *[{}] * ImageExponents.latency(1)]
    outputs = ["e_in", "e_out", "right", *(["exponent.valid", "exponent.payload"] if managed else [])]
    if isinstance(layer.input, Managed):
        outputs.append("header.ready")
    seen = trace_cycles(ImageExponents(layer, e=1, bits=24), inputs + [{}] * later, outputs)
    rule = layer.output.rule if managed else None
    history, origin = rule and rule.start(), BiasShift(layer).origin
    for image, cycle in enumerate(begins):
        low, high = layer.output_exponents(e_in[image])
        e_out = rule.next(history, low, high) if rule else 0
        assert seen[cycle + later][:3] == (e_in[image], e_out, e_in[image] - origin)
        if rule:
            assert seen[cycle + later][3:5] == (1, e_out)
            value = int(values[image])
            excess = max((value if value >= 0 else ~value).bit_length() - 15, 0)
            history = rule.after(history, rule.wanted(e_out, min(abs(value), TOP + (value < 0)), excess))
    if isinstance(layer.input, Managed):
        assert [row[-1] for row in seen] == [int(cycle in begins) for cycle in range(len(seen))]
