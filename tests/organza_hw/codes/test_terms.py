"""Lane arithmetic of every code against its integers, exhaustively: every activation of 8 bits with every field."""

# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal
from amaranth.sim import Simulator

from organza.codes import DIRECT, SERIAL, Affine, Binary, Codebook, Linear, PowerOfTwo, Ternary
from organza_hw.codes import EXPANDERS, TERMS, term_of
from organza_hw.lanes.dot import register


def column(values):
    """Weights as a layer of that many input channels."""
    return np.asarray(values).reshape(-1, 1, 1, 1)


CASES = [
    Linear(column(np.arange(-127, 128)), 8),
    Linear(column(np.arange(-7, 8)), 4),
    Linear(column([-1, 0, 1]), 2),
    Affine(column(range(16)), 4, 1907, 8),
    Affine(column(range(2)), 1, -3, 0),
    Ternary(column([-1, 0, 1])),
    Binary(column([-1, 1])),
    *(
        PowerOfTwo(column([0, *(s << e for s in (-1, 1) for e in range((1 << (bits - 1)) - 1))]), bits)
        for bits in (2, 3, 4, 5)
    ),
    Codebook(column(range(16)), np.array([-128, -100, -70, -31, -16, -9, -2, -1, 0, 3, 8, 15, 33, 64, 99, 127])),
    Codebook(column(range(3)), np.array([3, 4, 7])),
]


def test_every_code_has_gateware():
    assert {kind for kind, _ in TERMS} == set(DIRECT)
    assert set(EXPANDERS) == set(SERIAL)


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("code", CASES, ids=lambda code: f"{code.kind}{code.field_bits}")
def test_product_is_exact(code, signed):
    m = Module()
    activation = Signal(Shape(8, signed))
    term = term_of(code)
    assert Shape.cast(term.field_shape).width == code.field_bits
    raw = Signal(code.field_bits)
    field = Signal(term.field_shape)
    product = Signal(Shape(40, True))
    latency = term.product_latency
    cases = [(value, *weight) for weight in zip(code.integers().ravel().tolist(), code.fields().ravel().tolist(), strict=True)
             for value in (range(-128, 128) if signed else range(256))]  # fmt: skip
    m.d.comb += [
        field.eq(raw),
        product.eq((term.product(m, activation, field) << term.fraction) - term.offset * register(m, activation, stages=latency)),
    ]
    checked = 0

    async def bench(ctx):
        nonlocal checked
        for value, weight, stored in cases:
            ctx.set(raw, stored)
            ctx.set(activation, value)
            if checked >= latency:
                assert ctx.get(product) == wanted[checked - latency], (value, weight)
            checked += 1
            await ctx.tick()

    wanted = [value * weight for value, weight, _ in cases]
    cases += cases[-1:] * latency
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert checked == 256 * code.integers().size + latency
