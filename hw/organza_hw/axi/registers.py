"""`organza.registers` behind AXI4-Lite (Arm IHI 0022)."""

from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.registers import ADDRESS_BITS, LOADS, MANAGED, REGISTERS, WORD_BITS, WORD_BYTES, Access, places, register

OKAY, SLVERR = 0, 2  # responses

ADDRESS = data.StructLayout({"addr": ADDRESS_BITS, "prot": 3})
WRITE = data.StructLayout({"data": WORD_BITS, "strb": WORD_BYTES})
READ = data.StructLayout({"data": WORD_BITS, "resp": 2})
CHANNELS = {"aw": ADDRESS, "w": WRITE, "b": data.StructLayout({"resp": 2}), "ar": ADDRESS, "r": READ}
GIVEN = ("b", "r")  # channels that a slave offers
# Bytes with strobes, the lowest first; `first`: the first of them begins an image.
LOAD_WORD = data.StructLayout({"data": WORD_BITS, "strb": WORD_BYTES, "first": 1})


def member(one, index=0):
    """Name of a register's member."""
    return f"{one.name.lower()}_{index}" if one.count > 1 else one.name.lower()


class RegisterFile(wiring.Component):
    """An AXI4-Lite slave with the registers of `organza.registers`.

    One write and one read at a time, independent of each other. A write acts and is answered two cycles after the later of its address and its data, at the earliest; a
    read is answered three cycles after its address. All outputs are registers. An address without a register, and a write to one that is
    only read, is answered with SLVERR and does nothing; the former reads 0. Strobes count byte by byte. Addresses within a word mean the word.

    Parameters
    ----------
    joints : those with managed exponents; others have no EXPONENT and OVERFLOW. loads : weights are loaded at run time.

    Members
    -------
    aw, w, ar : In, b, r : Out, streams of `CHANNELS`.
    For a register that only reads, its name in lower case with _index where there are many: In(32). For one that acts, its name: In(32), what it reads, and
    its name with _written: Out(32), for a cycle the bits that are written as 1. Of one that keeps what is written: Out(32).
    load : Out, stream of `LOAD_WORD`, with `loads`. While one waits, so does the answer to the next write of one.
    """

    aw: stream.Interface
    w: stream.Interface
    b: stream.Interface
    ar: stream.Interface
    r: stream.Interface
    load: stream.Interface

    def __init__(self, joints=(), *, loads=False):
        self.loads = loads
        self.places = [
            (one, index, offset)
            for one, index, offset in places()
            if {"": True, LOADS: loads, MANAGED: index in joints}[one.only]
        ]
        members = {name: (Out if name in GIVEN else In)(stream.Signature(layout)) for name, layout in CHANNELS.items()}
        for one, index, _ in self.places:
            name = member(one, index)
            if one.access is Access.WO:
                continue
            members[name] = Out(WORD_BITS) if one.access is Access.RW else In(WORD_BITS)
            if one.access is Access.W1:
                members[f"{name}_written"] = Out(WORD_BITS)
        if loads:
            members["load"] = Out(stream.Signature(LOAD_WORD))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _taken(self, m, channel, done):
        """What came through a channel, and whether it is there; `done` makes room for the next."""
        there = Signal()
        held: Any = Signal(channel.payload.shape())  # a View
        m.d.comb += channel.ready.eq(~there)
        with m.If(channel.valid & ~there):
            m.d.sync += [held.eq(channel.payload), there.eq(1)]
        with m.If(done):
            m.d.sync += there.eq(0)
        return held, there

    def _write(self, m):
        act = Signal()
        address, addressed = self._taken(m, self.aw, act)
        word, given = self._taken(m, self.w, act)
        full = Signal()
        if self.loads:
            m.d.comb += full.eq(self.load.valid)
            with m.If(self.load.ready):
                m.d.sync += self.load.valid.eq(0)
        passes = [offset // WORD_BYTES for one, _, offset in self.places if one.access is Access.WO]
        full &= address.addr[2:].matches(*passes)
        m.d.comb += act.eq(addressed & given & (~self.b.valid | self.b.ready) & ~full)
        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        mask = Cat(bit.replicate(WORD_BITS // WORD_BYTES) for bit in word.strb)
        writable = [(member(one, index), one, offset) for one, index, offset in self.places if one.access is not Access.RO]
        for name, one, _ in writable:
            if one.access is Access.W1:
                m.d.sync += getattr(self, f"{name}_written").eq(0)
        with m.If(act):
            m.d.sync += [self.b.valid.eq(1), self.b.payload.resp.eq(SLVERR)]
            with m.Switch(address.addr[2:]):
                for name, one, offset in writable:
                    with m.Case(offset // WORD_BYTES):
                        m.d.sync += self.b.payload.resp.eq(OKAY)
                        if one.access is Access.W1:
                            m.d.sync += getattr(self, f"{name}_written").eq(word.data & mask)
                        elif one.access is Access.WO:
                            m.d.sync += [
                                self.load.valid.eq(1), self.load.payload.data.eq(word.data), self.load.payload.strb.eq(word.strb),
                                self.load.payload.first.eq(one.name == "LOAD_FIRST"),
                            ]  # fmt: skip
                        else:
                            m.d.sync += getattr(self, name).eq((word.data & mask) | (getattr(self, name) & ~mask))

    def _read(self, m):
        done = Signal()
        address, addressed = self._taken(m, self.ar, done)
        # A register behind the choice among all, and what was kept with the last that keeps something.
        chosen, known, found, kept = Signal(WORD_BITS), Signal(), Signal(), Signal(WORD_BITS)
        keepers = {one.keeps for one in REGISTERS if one.keeps}
        m.d.comb += done.eq(addressed & known & (~self.r.valid | self.r.ready))
        m.d.sync += known.eq(addressed)
        with m.If(addressed & ~known):
            m.d.sync += [chosen.eq(0), found.eq(0)]
            with m.Switch(address.addr[2:]):
                for one, index, offset in self.places:
                    with m.Case(offset // WORD_BYTES):
                        m.d.sync += found.eq(1)
                        if one.access is not Access.WO:
                            m.d.sync += chosen.eq(kept if one.name in keepers else getattr(self, member(one, index)))
                        if one.keeps:
                            m.d.sync += kept.eq(getattr(self, member(register(one.keeps), index)))
        with m.If(self.r.ready):
            m.d.sync += self.r.valid.eq(0)
        with m.If(done):
            m.d.sync += [self.r.valid.eq(1), self.r.payload.data.eq(chosen), self.r.payload.resp.eq(Mux(found, OKAY, SLVERR))]
