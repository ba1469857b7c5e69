# amaranth: UnusedElaboratable=no
import itertools

import numpy as np
import pytest
from amaranth.hdl import Shape, signed, unsigned

from organza_hw.codes.term import Term
from organza_hw.lanes.dot import DotLanes, register
from organza_sim.pysim import trace_cycles


class Multiply(Term):
    kind = "test"

    def __init__(self, shape, fraction=0, offset=0):
        self.field_shape, self.fraction, self.offset = shape, fraction, offset

    def product(self, m, activation, field, *, instances=False):
        return register(m, activation * field)


def limits(shape):
    shape = Shape.cast(shape)
    half = 1 << (shape.width - 1)
    return (-half, half - 1) if shape.signed else (0, 2 * half - 1)


def check(lanes, activations, weights):
    """Exact dot products, exactly `latency` cycles after the operands, one set of operands a cycle."""
    latency = lanes.term.latency(lanes.ti)
    inputs = [{"activations": a.tolist(), "weights": w.tolist()} for a, w in zip(activations, weights, strict=True)]
    seen = trace_cycles(lanes, inputs + [{}] * latency, ["sums"])[latency:]
    weights = (weights << lanes.term.fraction) - lanes.term.offset
    expected = np.einsum("npi,noi->npo", activations, weights).tolist()
    for (sums,), values in zip(seen, expected, strict=True):
        assert [[sums[p][t] for t in range(lanes.to)] for p in range(lanes.p)] == values


@pytest.mark.parametrize("ti, latency", [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5), (16, 5), (17, 6), (33, 7)])
def test_every_width_of_the_adder_tree(ti, latency):
    assert DotLanes.latency(ti) == latency
    rng = np.random.default_rng(ti)
    lanes = DotLanes(Multiply(signed(8)), activation=signed(8), ti=ti, to=1, p=1, sum_bits=22)
    activations, weights = (rng.integers(-128, 128, (40, 1, ti)) for _ in range(2))
    activations[:4], weights[:4] = -128, np.array([-128, 127, -1, 0])[:, None, None]
    check(lanes, activations, weights)


@pytest.mark.parametrize("activation", [signed(8), unsigned(8)])
def test_every_product_of_eight_bits(activation):
    low, high = limits(activation)
    lanes = DotLanes(Multiply(signed(8)), activation=activation, ti=1, to=32, p=2, sum_bits=17)
    pairs = itertools.product(range(low, high, 2), range(-128, 128, 32))
    steps = [([[a], [a + 1]], [[w + k] for k in range(32)]) for a, w in pairs]
    check(lanes, np.array([a for a, _ in steps]), np.array([w for _, w in steps]))


@pytest.mark.parametrize("bits", [1, 4, 16])
@pytest.mark.parametrize("ti, to, p", [(3, 2, 2), (2, 3, 1), (4, 1, 3)])
def test_every_lane_has_its_own_operands(bits, ti, to, p):
    rng = np.random.default_rng(bits)
    lanes = DotLanes(Multiply(signed(bits + 1)), activation=unsigned(bits), ti=ti, to=to, p=p, sum_bits=2 * bits + 4)
    activations = rng.integers(0, 1 << bits, (60, p, ti))
    weights = rng.integers(-(1 << bits), 1 << bits, (60, to, ti))
    check(lanes, activations, weights)


@pytest.mark.parametrize("ti", [1, 2, 5, 9])
def test_fraction_and_offset_are_paid_once_a_pixel(ti):
    rng = np.random.default_rng(ti)
    term = Multiply(unsigned(4), fraction=8, offset=1907)
    lanes = DotLanes(term, activation=signed(8), ti=ti, to=3, p=2, sum_bits=26)
    check(lanes, rng.integers(-128, 128, (60, 2, ti)), rng.integers(0, 16, (60, 3, ti)))
