# amaranth: UnusedElaboratable=no
"""Approximate adders in RTL: every pair of eight bits, with and without gates in front, against full adders in C++."""

import subprocess

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.adders import Adder
from organza_hw.adders import add, add_pair
from organza_hw.lanes import carry
from organza_hw.verilog import to_verilog
from organza_sim.verilator import compile_verilog

KINDS = ("loa", "notcarry")
LOWS = range(1, 9)


class Sums(wiring.Component):
    """Adders of one kind with 1 to 8 low bits, side by side: of two values, and of two activations with a bit each."""

    def __init__(self, kind, is_signed):
        self.kind = kind
        shape, total = Shape(8, is_signed), Shape(9, is_signed)
        ports = {"a": In(shape), "b": In(shape), "f": In(1), "g": In(1)}
        super().__init__(ports | {f"{name}{low}": Out(total) for name in ("sum", "pair") for low in LOWS})

    def elaborate(self, platform):
        m = Module()
        for low in LOWS:
            adder = Adder(self.kind, low)
            plain = add(m, adder, self.a, self.b)
            pair = add_pair(m, adder, (self.a, self.f), (self.b, self.g), instances=True)
            assert plain.shape() == pair.shape() == self.sum1.shape()
            m.d.comb += [getattr(self, f"sum{low}").eq(plain), getattr(self, f"pair{low}").eq(pair)]
        return m


MAIN = r"""
#include "Vtop.h"
#include "verilated.h"
#include <cstdio>
double sc_time_stamp() { return 0; }
static int full(int a, int b, int low) {  // nine places, one full adder after the other
    int carry = 0, sum = 0;
    for (int k = 0; k < 9; k++) {
        int p = a >> k & 1, q = b >> k & 1, out = (p + q + carry) / 2, bit = (p + q + carry) % 2;
        if (k < low) {
            if (NOTCARRY) bit = !out;
            else { bit = p || q; out = p && q; }
        }
        sum |= bit << k;
        carry = out;
    }
    return sum;
}
int main() {
    Vtop top;
    long checked = 0;
    const int most = 511;
    for (int a = 0; a < 256; a++) for (int b = 0; b < 256; b++) for (int bits = 0; bits < 4; bits++) {
        int f = bits & 1, g = bits >> 1;
        int x = SIGNED && a > 127 ? a - 256 : a, y = SIGNED && b > 127 ? b - 256 : b;
        top.a = a; top.b = b; top.f = f; top.g = g; top.eval();
        int sums[] = {SUMS}, pairs[] = {PAIRS};
        // Unsigned activations are inverted in their eight places.
        int u = NOTCARRY ? (f ? (SIGNED ? -x - 1 : 255 - x) : x) : f ? x : 0;
        int v = NOTCARRY ? (g ? (SIGNED ? -y - 1 : 255 - y) : y) : g ? y : 0;
        for (int low = 1; low <= 8; low++) {
            if (sums[low - 1] != full(x & most, y & most, low) || pairs[low - 1] != full(u & most, v & most, low)) {
                std::printf("wrong %d %d %d %d %d: %d %d\n", low, a, b, f, g, sums[low - 1], pairs[low - 1]);
                return 1;
            }
            checked++;
        }
    }
    std::printf("%ld\n", checked);
}
"""


@pytest.mark.parametrize("is_signed", [0, 1], ids=["u8", "s8"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_pair(kind, is_signed):
    verilog = to_verilog(Sums(kind, bool(is_signed)), "sums") + carry.VERILOG
    main = MAIN
    for word, value in (
        ("NOTCARRY", int(kind == "notcarry")), ("SIGNED", is_signed),
        *((name.upper() + "S", ", ".join(f"(int)top.{name}{low}" for low in LOWS)) for name in ("sum", "pair")),
    ):  # fmt: skip
        main = main.replace(word, str(value))
    program = compile_verilog([verilog], "sums", cpp={"main.cpp": main}, optimize="-O2")
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == str(8 << 18), done.stdout + done.stderr
