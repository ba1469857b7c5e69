# amaranth: UnusedElaboratable=no
"""Every value of a few widths with every constant around them, and with every other value."""

import pytest
from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.compare import less, less_than
from organza_sim.pysim import trace_cycles


class Less(wiring.Component):
    def __init__(self, shape, limits):
        self.limits = limits
        super().__init__({"value": In(shape), "less": Out(len(limits))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.less.eq(Cat(less_than(self.value, limit) for limit in self.limits))
        m.d.sync += Signal().eq(self.value[0])  # a clock to tick
        return m


@pytest.mark.parametrize("shape", [Shape(1), Shape(2), Shape(6), Shape(1, True), Shape(5, True)], ids=str)
def test_all(shape):
    low = -(1 << shape.width - 1) if shape.signed else 0
    values = range(low, low + (1 << shape.width))
    limits = range(low - 2, low + (1 << shape.width) + 3)
    seen = trace_cycles(Less(shape, limits), [{"value": value} for value in values], ["less"])
    assert [less for (less,) in seen] == [sum((value < limit) << k for k, limit in enumerate(limits)) for value in values]


class Both(wiring.Component):
    def __init__(self, shape):
        super().__init__({"a": In(shape), "b": In(shape), "less": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.less.eq(less(self.a, self.b))
        m.d.sync += Signal().eq(self.a[0])
        return m


@pytest.mark.parametrize("shape", [Shape(1), Shape(3), Shape(2, True), Shape(4, True)], ids=str)
def test_pairs(shape):
    low = -(1 << shape.width - 1) if shape.signed else 0
    pairs = [(a, b) for a in range(low, low + (1 << shape.width)) for b in range(low, low + (1 << shape.width))]
    seen = trace_cycles(Both(shape), [{"a": a, "b": b} for a, b in pairs], ["less"])
    assert [less for (less,) in seen] == [int(a < b) for a, b in pairs]
