"""Bytes of weights out of what is written into registers."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.registers import WORD_BYTES
from organza_hw.axi.registers import LOAD_WORD
from organza_hw.axi.stream import BYTE
from organza_hw.loading.loader import LOAD_BYTE


class LoadBytes(wiring.Component):
    """The bytes with strobes, the lowest first.

    Latency: a cycle, and one for every byte before. Throughput: a word in five cycles. Full back-pressure.

    Members
    -------
    i : In, stream of `LOAD_WORD`. o : Out, stream of `LOAD_BYTE`.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({"i": In(stream.Signature(LOAD_WORD)), "o": Out(stream.Signature(LOAD_BYTE))})

    def elaborate(self, platform):
        m = Module()
        held, there = Signal(LOAD_WORD), Signal(WORD_BYTES)  # a word, and a bit for each of its places that is still to come
        m.d.comb += [
            self.i.ready.eq(~there[0]), self.o.valid.eq(there[0] & held.strb[0]),
            self.o.payload.byte.eq(held.data), self.o.payload.first.eq(held.first),
        ]  # fmt: skip
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(self.i.payload), there.eq(-1)]
        with m.If(there[0] & (~held.strb[0] | self.o.ready)):
            m.d.sync += [held.data.eq(held.data >> BYTE), held.strb.eq(held.strb >> 1), there.eq(there >> 1)]
            with m.If(held.strb[0]):
                m.d.sync += held.first.eq(0)
        return m
