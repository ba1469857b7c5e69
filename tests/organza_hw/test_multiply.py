# amaranth: UnusedElaboratable=no
"""Products in parts against Python's, in Amaranth's simulator and, with the instantiated cell's plain twin, through Verilator."""

import itertools
import subprocess

import numpy as np
import pytest
from amaranth.hdl import Module, Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.multiply import VERILOG, multiply, multiply_latency
from organza_hw.verilog import to_verilog
from organza_sim.pysim import trace_cycles
from organza_sim.verilator import compile_verilog

# Widths up to one multiplier, one bit beyond it, and what an epilogue, a hash and the widest sums ask for.
SHAPES = [(8, 8), (17, 18), (18, 17), (19, 16), (24, 16), (11, 32), (32, 32), (42, 16), (53, 16)]


SIGNS = list(itertools.product((False, True), repeat=2))


class Product(wiring.Component):
    def __init__(self, a, b, instances):
        self.instances = instances
        super().__init__({"a": In(a), "b": In(b), "p": Out(Shape(a.width + b.width, a.signed or b.signed))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.p.eq(multiply(m, self.a, self.b, instances=self.instances))
        return m


def edges(shape):
    low = -(1 << (shape.width - 1)) if shape.signed else 0
    high = low + (1 << shape.width) - 1
    return [low, low + 1, *([-1] if shape.signed else []), 0, 1, high - 1, high]


@pytest.mark.parametrize("signs", SIGNS)
@pytest.mark.parametrize("widths", SHAPES)
def test_products(widths, signs):
    a, b = (Shape(width, sign) for width, sign in zip(widths, signs, strict=True))
    rng = np.random.default_rng(widths)
    pairs = list(itertools.product(edges(a), edges(b)))
    for _ in range(100):
        pairs.append(tuple(edges(shape)[0] + int.from_bytes(rng.bytes(8), "little") % (1 << shape.width) for shape in (a, b)))
    latency = multiply_latency(a, b)
    inputs = [{"a": x, "b": y} for x, y in pairs]
    seen = trace_cycles(Product(a, b, False), inputs + [{}] * latency, ["p"])[latency:]
    assert [p for (p,) in seen] == [x * y for x, y in pairs]


def test_latencies():
    """Two cycles of the multipliers, one for each level of adders behind their products."""
    signed, unsigned = Shape(18, True), Shape(17, False)
    assert multiply_latency(signed, unsigned) == 2
    assert multiply_latency(Shape(19, True), signed) == multiply_latency(Shape(18, False), unsigned) == 3
    assert multiply_latency(Shape(32, False), Shape(32, False)) == 4


@pytest.mark.rtl
@pytest.mark.parametrize("signs", SIGNS)
def test_cells(signs):
    """The module that Verilog instantiates, every pair of edges of a product in two parts."""
    a, b = Shape(20, signs[0]), Shape(9, signs[1])
    pairs = list(itertools.product(edges(a), edges(b)))
    steps = "".join(
        f"top.a = {x % (1 << 20)}; top.b = {y % (1 << 9)}; for (int k = 0; k < 3; k++) {{ top.clk = 0; top.eval(); top.clk = 1; "
        f'top.eval(); }} std::printf("%u\\n", (unsigned)top.p);\n'
        for x, y in pairs
    )
    main = f'#include "Vtop.h"\n#include "verilated.h"\n#include <cstdio>\ndouble sc_time_stamp() {{ return 0; }}\nint main() {{\nVtop top; top.rst = 0;\n{steps}}}\n'
    program = compile_verilog([to_verilog(Product(a, b, True), "product") + VERILOG], "product", cpp={"main.cpp": main})
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert [int(line) for line in done.stdout.split()] == [x * y % (1 << 29) for x, y in pairs]
