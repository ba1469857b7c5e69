"""Bytes of five ternary digits to the fields of ternary lanes."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.codes.trits import BYTE, TRITS


class TritDecoder(wiring.Component):
    """Five fields (bit 0: not zero, bit 1: negative) out of a byte of `organza.codes.trits`; digit 2 means -1.

    Latency `LATENCY` cycles, a byte a cycle, no back-pressure.

    Members
    -------
    i : In(8). o : Out(10), first digit lowest.
    """

    LATENCY = 2

    i: Signal
    o: Signal

    def __init__(self):
        super().__init__({"i": In(BYTE), "o": Out(2 * TRITS)})

    def elaborate(self, platform):
        m = Module()
        rest, fields = self.i, []
        for number in range(TRITS):
            tripled = Signal(BYTE + 2, name=f"tripled_{number}")
            m.d.comb += tripled.eq(rest + (rest << 1))
            fields.append(Cat(tripled[BYTE] | tripled[BYTE + 1], tripled[BYTE + 1]))
            rest = tripled[:BYTE]
            if number in (1, 3):  # two additions between registers
                held = [Signal.like(field, name=f"field_{number}_{k}") for k, field in enumerate(fields)]
                kept = Signal(BYTE, name=f"rest_{number}")
                m.d.sync += [kept.eq(rest), *(register.eq(field) for register, field in zip(held, fields, strict=True))]
                rest, fields = kept, held
        m.d.comb += self.o.eq(Cat(fields))
        return m


def trit_fields(m, octets):
    """Fields of all bytes of a word, `TritDecoder.LATENCY` cycles later."""
    fields = Signal(2 * TRITS * (len(octets) // BYTE))
    for number in range(len(octets) // BYTE):
        m.submodules[f"decoder{number}"] = decoder = TritDecoder()
        m.d.comb += [decoder.i.eq(octets.word_select(number, BYTE)), fields.word_select(number, 2 * TRITS).eq(decoder.o)]
    return fields
