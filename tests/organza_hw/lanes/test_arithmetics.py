# amaranth: UnusedElaboratable=no
"""All lanes of a code have the same integers, also where they use no multiplier or half of one."""

import numpy as np
import pytest
from amaranth.hdl import Shape

from organza.codes import Binary, Linear, Ternary
from organza_hw.codes import term_of
from organza_hw.lanes.dot import DotLanes
from organza_sim.pysim import trace_cycles
from tests.repeated import some_now

CODES = {"ternary": Ternary, "ternary short": Ternary, "binary": Binary}
KINDS = [*CODES, *(f"lut{bits}" for bits in (2, 3, 4)), *(f"packed{bits}" for bits in (2, 3, 4, 5, 8))]


def code_of(kind, values):
    """The code of weights (n, to, ti) as a layer of n·to output channels, and its lanes; those "short" are of a short pipeline."""
    values = values.transpose(2, 0, 1).reshape(values.shape[2], -1, 1, 1)
    if kind in CODES:
        return CODES[kind](values), "plain"
    arithmetic = kind.rstrip("0123456789")
    return Linear(values, int(kind[len(arithmetic) :])), arithmetic


def random_values(rng, kind, shape):
    if kind == "binary":
        return rng.choice([-1, 1], shape)
    most = 1 if kind in CODES else (1 << (int(kind[-1]) - 1)) - 1
    values = rng.integers(-most, most + 1, shape)
    values[:2], values[2:4] = most, -most
    return values


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("ti", some_now([1, 3, 8, 17, 2, 4, 5, 7, 9], 4))
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_exact(kind, ti, signed):
    rng = np.random.default_rng(ti)
    steps, to, p = 24, 3, 2
    values = random_values(rng, kind, (steps, to, ti))
    code, arithmetic = code_of(kind, values)
    fields = code.fields().reshape(ti, steps, to).transpose(1, 2, 0)
    low, high = (-128, 127) if signed else (0, 255)
    activations = rng.integers(low, high + 1, (steps, p, ti))
    activations[::2][: steps // 4] = low
    activations[1::2][: steps // 4] = high
    term = term_of(code, arithmetic)
    term.short = kind.endswith("short")
    lanes = DotLanes(term, activation=Shape(8, signed), ti=ti, to=to, p=p, sum_bits=24)
    if Shape.cast(term.field_shape).signed:
        fields = fields - ((fields >> (code.field_bits - 1)) << code.field_bits)
    latency = term.latency(ti)
    inputs = [{"activations": a.tolist(), "weights": w.tolist()} for a, w in zip(activations, fields, strict=True)]
    seen = trace_cycles(lanes, inputs + [{}] * latency, ["sums"])[latency:]
    expected = np.einsum("npi,noi->npo", activations, values).tolist()
    for (sums,), wanted in zip(seen, expected, strict=True):
        assert [[sums[pixel][channel] for channel in range(to)] for pixel in range(p)] == wanted


def test_unused_lanes_count_nothing():
    """A field of 0 beside an activation of 0 is what a lane without channel gets."""
    for kind in KINDS:
        code, arithmetic = code_of(kind, random_values(np.random.default_rng(0), kind, (4, 1, 4)))
        term = term_of(code, arithmetic)
        lanes = DotLanes(term, activation=Shape(8), ti=4, to=1, p=1, sum_bits=24)
        seen = trace_cycles(lanes, [{"activations": [[0] * 4], "weights": [[0] * 4]}] * 9, ["sums"])
        assert [sums[0][0] for (sums,) in seen[term.latency(4) :]] == [0] * (9 - term.latency(4))
