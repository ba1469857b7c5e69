"""Small components whose cells are known from what the flow's rules say of them."""

from __future__ import annotations

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.multiply import multiply
from organza_sim.resources.synthesis import contents


class Logic(wiring.Component):
    """Two inputs of some bits, one output; `body` makes it."""

    a: Signal
    b: Signal
    y: Signal

    def __init__(self, body, *, width=8, out=8):
        self.body = body
        super().__init__({"a": In(width), "b": In(width), "y": Out(out)})

    def elaborate(self, platform):
        m = Module()
        self.body(m, self.a, self.b, self.y)
        return m


def found(body, **options):
    return contents(Logic(body, **options), {})


def adder(m, a, b, y):
    m.d.sync += y.eq(a + b)


@pytest.mark.parametrize("out, pairs, short", [(8, 4, 0), (5, 3, 0), (4, 0, 4), (9, 5, 0)])
def test_an_adder_is_a_chain_as_long_as_it_is_needed(out: int, pairs: int, short: int) -> None:
    made = found(adder, out=out)
    assert (made.pairs, made.short, made.chains, made.luts) == (pairs, short, int(pairs > 0), 0)
    assert made.registers == out


def test_low_bits_that_nothing_is_added_to_take_nothing() -> None:
    made = found(lambda m, a, b, y: m.d.comb.__iadd__(y.eq(a + (b << 3))), out=11)
    assert made.pairs == 4


def test_a_comparison_with_zero_is_a_sign_and_others_are_chains() -> None:
    assert found(lambda m, a, b, y: m.d.comb.__iadd__(y.eq(a.as_signed() < 0)), out=1).pairs == 0
    made = found(lambda m, a, b, y: m.d.comb.__iadd__(y.eq(a < b)), out=1)
    assert (made.pairs, made.chains) == (4, 1)


def test_enables_and_resets_cost_what_makes_them() -> None:
    def body(m, a, b, y):
        with m.If(b == 3):
            m.d.sync += y.eq(a)

    made = found(body)
    assert made.luts == 3 and made.registers == 8  # eight bits in three LUTs; none for the register's own value


@pytest.mark.parametrize("body, luts", [
    (lambda s, a, b: [s.eq(Mux(b[0], 0, a))], 1),  # or the reset of all
    (lambda s, a, b: [s.eq(Mux(b[0], s, a)), s.eq(Mux(b[1], 0, Mux(b[0], s, a)))], 1),
    (lambda s, a, b: [s.eq(Mux(b[0], s, Mux(b[1], 0, a)))], 8),  # behind an enable of one that has a reset
    (lambda s, a, b: [s.eq(Mux(b[0], 0xF0, a))], 5),  # four bits begin with another value
])  # fmt: skip
def test_choices_of_the_initial_value_are_a_reset(body, luts: int) -> None:
    """As Yosys divides them, which was run on the same four."""
    def whole(m, a, b, y):
        state = Signal(8)
        m.d.sync += body(state, a, b)
        m.d.comb += y.eq(state)

    made = found(whole)
    assert (made.luts, made.registers) == (luts, 8)


def test_behind_an_enable_a_register_without_reset_is_set_back() -> None:
    def body(m, a, b, y):
        state = Signal(8, reset_less=True)
        with m.If(b[0]):
            m.d.sync += state.eq(Mux(b[1], 0, a))
        m.d.comb += y.eq(state)

    assert found(body).luts == 0


def test_equal_registers_are_one_and_constant_ones_none() -> None:
    def body(m, a, b, y):
        one, two, never, kept = (Signal(4, name=name) for name in ("one", "two", "never", "kept"))
        m.d.sync += [one.eq(a), two.eq(a), never.eq(0)]
        with m.If(b[0]):
            m.d.sync += kept.eq(never)
        m.d.comb += y.eq(one ^ two ^ kept)

    made = found(body)
    assert (made.registers, made.luts) == (0, 0)


def test_what_nothing_needs_takes_nothing() -> None:
    def body(m, a, b, y):
        unused = Signal(8)
        m.d.sync += unused.eq(a * b + unused)
        m.d.comb += y.eq(a)

    made = found(body)
    assert (made.registers, made.pairs, made.multipliers) == (0, 0, 0)


@pytest.mark.parametrize("width, multipliers, in_parts", [(8, 1, 1), (18, 1, 4), (20, 4, 4)])
def test_products(width: int, multipliers: int, in_parts: int) -> None:
    assert found(lambda m, a, b, y: m.d.comb.__iadd__(y.eq(a * b)), width=width, out=2 * width).multipliers == multipliers

    def cells(m, a, b, y):
        m.d.comb += y.eq(multiply(m, a, b, instances=True))

    assert found(cells, width=width, out=2 * width).multipliers == in_parts  # of 17 bits without a sign


def test_a_product_with_a_power_of_two_is_a_shift() -> None:
    assert found(lambda m, a, b, y: m.d.comb.__iadd__(y.eq(a * 8)), out=11).multipliers == 0
