"""The 16 × 16 product of flexpoint lanes, and the multipliers that it becomes."""

# amaranth: UnusedElaboratable=no
import numpy as np
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator

from organza.codes import Flexpoint
from organza_hw.codes import term_of

EDGES = [-32768, -32767, -16384, -1, 0, 1, 2, 16383, 32767]


def test_product_is_exact():
    rng = np.random.default_rng(0)
    pairs = [(a, w) for a in EDGES for w in EDGES] + rng.integers(-32768, 32768, (2000, 2)).tolist()
    code = Flexpoint(np.array([w for _, w in pairs]).reshape(-1, 1, 1, 1))
    m = Module()
    activation, field, product = Signal(signed(16)), Signal(signed(16)), Signal(signed(40))
    term = term_of(code)
    m.d.comb += product.eq(term.product(m, activation, field))

    async def bench(ctx):
        for (a, w), stored in zip(pairs, code.fields().ravel().tolist(), strict=True):
            ctx.set(activation, a)
            ctx.set(field, stored - (stored >> 15 << 16))
            await ctx.tick().repeat(term.product_latency)
            assert ctx.get(product) == a * w

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
