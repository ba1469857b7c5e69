# amaranth: UnusedElaboratable=no
"""Two products of one multiplier: every activation with every pair of weights, in software and in RTL."""

import subprocess

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.build import VERILOG
from organza_hw.lanes.packed import MODULO_BITS, NARROW_OFFSET, WIDE_OFFSET, narrow_pair, wide_pair
from organza_hw.verilog import to_verilog
from organza_sim.verilator import compile_verilog

RANGES = {"u8": (0, 255), "s8": (-128, 127)}


@pytest.mark.parametrize("name", RANGES)
def test_the_rule_in_software(name):
    weights = np.arange(-127, 128, dtype=np.int64)
    low, high = weights[:, None], weights[None, :]
    for a in range(RANGES[name][0], RANGES[name][1] + 1):
        whole = a * ((high << WIDE_OFFSET) + low)
        assert abs((high << WIDE_OFFSET) + low).max() < 1 << 17
        upper = whole >> WIDE_OFFSET
        factor = ((a % 64) * (high % 64)) % 64
        borrowed = (((upper - factor) + 32) % (1 << MODULO_BITS)) - 32
        assert np.array_equal((borrowed << WIDE_OFFSET) + (whole & ((1 << WIDE_OFFSET) - 1)), np.broadcast_to(a * low, whole.shape))
        assert np.array_equal(upper - borrowed, np.broadcast_to(a * high, whole.shape))
    narrow = np.arange(-7, 8)
    a = np.arange(RANGES[name][0], RANGES[name][1] + 1)[:, None, None]
    low, high = narrow[:, None], narrow[None, :]
    whole = a * ((high << NARROW_OFFSET) + low)
    part = ((whole & 4095) ^ 2048) - 2048
    assert np.array_equal(part, np.broadcast_to(a * low, whole.shape))
    assert np.array_equal((whole >> NARROW_OFFSET) + ((whole >> (NARROW_OFFSET - 1)) & 1), np.broadcast_to(a * high, whole.shape))


class Pair(wiring.Component):
    def __init__(self, pair, bits, is_signed):
        self.pair = pair
        super().__init__({
            "a": In(Shape(8, is_signed)), "low": In(signed(bits)), "high": In(signed(bits)),
            "p": Out(signed(16)), "q": Out(signed(16)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        p, q = self.pair(m, self.a, self.low, self.high, instances=True)
        m.d.comb += [self.p.eq(p), self.q.eq(q)]
        return m


MAIN = r"""
#include "Vtop.h"
#include "verilated.h"
#include <cstdio>
#include <cstdint>
double sc_time_stamp() { return 0; }
int main() {
    Vtop top;
    top.rst = 0;
    long checked = 0;
    for (int a = LOW; a <= HIGH; a++) for (int l = -MOST; l <= MOST; l++) for (int h = -MOST; h <= MOST; h++) {
        top.a = a & 255; top.low = l & MASK; top.high = h & MASK;
        for (int edge = 0; edge < 2; edge++) { top.clk = 0; top.eval(); top.clk = 1; top.eval(); }
        if ((int16_t)top.p != a * l || (int16_t)top.q != a * h) {
            std::printf("wrong %d %d %d: %d %d\n", a, l, h, (int16_t)top.p, (int16_t)top.q); return 1;
        }
        checked++;
    }
    std::printf("%ld\n", checked);
}
"""


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("pair, bits", [(narrow_pair, 4), (wide_pair, 8)], ids=["narrow", "wide"])
def test_every_pair_in_rtl(pair, bits, name):
    verilog = to_verilog(Pair(pair, bits, name == "s8"), "pair") + VERILOG
    most = (1 << (bits - 1)) - 1
    main = MAIN
    for word, value in (("LOW", RANGES[name][0]), ("HIGH", RANGES[name][1]), ("MOST", most), ("MASK", (1 << bits) - 1)):
        main = main.replace(word, str(value))
    program = compile_verilog([verilog], "pair", cpp={"main.cpp": main}, optimize="-O2")
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == str(256 * (2 * most + 1) ** 2), done.stdout + done.stderr
