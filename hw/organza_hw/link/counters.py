"""Counters of a host that are loaded or read byte by byte: on iCE40 a logic cell a bit, because what chooses is an operand of the adder."""

from amaranth import *

from organza_hw.link.crc import BYTE


def countdown(m, bits: int, *, clear: Value, load: Value, byte: Value, step: Value) -> Value:
    """A number that comes byte by byte with `load`, the lowest first, and is one less after each `step`; 0 after `clear`.

    Returns whether it was not 0, in the cycle of a `step`, which may be that of no `load`.
    """
    value, after = Signal(bits), Signal(bits + 1)
    m.d.comb += after.eq(value + step.replicate(bits))
    with m.If(clear):
        m.d.sync += value.eq(0)
    with m.Elif(load | step):
        m.d.sync += value.eq(Mux(step, after[:bits], Cat(value, byte)[BYTE:]))
    return after[bits]


def count_up(m, bits: int, *, load: Value, byte: Value, step: Value, clear: Value | None = None) -> tuple[Signal, Value]:
    """The same, but one more after each `step`. Returns the number too, and whether it was as large as it can be, in the cycle of a `step`."""
    value, after = Signal(bits), Signal(bits + 1)
    m.d.comb += after.eq(value - ~load.replicate(bits + 1))
    with m.If(Const(0) if clear is None else clear):
        m.d.sync += value.eq(0)
    with m.Elif(load | step):
        m.d.sync += value.eq(Mux(load, Cat(value, byte)[BYTE:], after[:bits]))
    return value, after[bits]


def long_count_up(m, bits: int, *, load: Value, step: Value, clear: Value) -> Value:
    """The same in two halves, for so many bits that one sum would be late. The upper half knows a cycle after a `step`; zeros come with `load`."""
    half = bits // 2
    carry, upper = Signal(), Signal(BYTE)
    low, full = count_up(m, half, load=load, byte=upper, step=step, clear=clear)
    high, _ = count_up(m, bits - half, load=load, byte=Const(0, BYTE), step=carry, clear=clear)
    m.d.sync += carry.eq(step & full)
    m.d.comb += upper.eq(high[:BYTE])
    return Cat(low, high)
