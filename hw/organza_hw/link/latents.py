"""Latents drawn on the chip; see `organza.latent_stream`."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.host_protocol import element_bytes
from organza.latent_stream import INDEX_BITS, STATE_BITS, quantiles
from organza_hw.link.frames import BYTE
from organza_hw.rom import Rom


class Latents(wiring.Component):
    """Bytes of integers of a format, from a state on.

    Latency: the first byte `Rom.LATENCY` + 2 cycles after the first `draw`. Throughput: an integer every `Rom.LATENCY` + 1 + its bytes cycles.

    Members
    -------
    load, byte : In, one after the other the bytes of the state to begin with, which is not 0, the lowest first. What has been drawn is gone.
    draw : In(1), the next integer may be drawn; not between bytes of a state. o : Out, stream of bytes, until `load`.
    """

    load: Signal
    draw: Signal
    byte: Signal
    o: stream.Interface

    def __init__(self, form):
        self.size, self.form = element_bytes(form), form
        mask = (1 << BYTE * self.size) - 1
        self.table = Rom(width=BYTE * self.size, words=[int(value) & mask for value in form.to_wire(quantiles(form))])
        super().__init__({"load": In(1), "byte": In(BYTE), "draw": In(1), "o": Out(stream.Signature(BYTE))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = self.table
        state, left = Signal(STATE_BITS, init=1), Signal(range(self.size + 1))
        wait, word = Signal(Rom.LATENCY + 1), Signal(BYTE * self.size)
        following = Signal(STATE_BITS)
        one, two = Signal(STATE_BITS), Signal(STATE_BITS)
        m.d.comb += [
            one.eq(state ^ (state << 13)), two.eq(one ^ (one >> 17)), following.eq(two ^ (two << 5)),
            table.addr.eq(state[-INDEX_BITS:]), self.o.valid.eq(left != 0), self.o.payload.eq(word[:BYTE]),
        ]  # fmt: skip
        m.d.sync += wait.eq(wait << 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [word.eq(word >> BYTE), left.eq(left - 1)]
        with m.If(wait[-1]):
            m.d.sync += [word.eq(table.data), left.eq(self.size)]
        step = self.draw & (left == 0) & (wait == 0)
        with m.If(step):
            m.d.sync += wait.eq(1)
        with m.If(self.load):
            m.d.sync += [left.eq(0), wait.eq(0)]
        with m.If(self.load | step):
            m.d.sync += state.eq(Mux(self.load, Cat(state, self.byte)[BYTE:], following))
        return m
