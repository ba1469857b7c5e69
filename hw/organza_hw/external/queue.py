"""A queue in a block RAM whose reader has the RAM's own output register."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.block_ram import block_ram


class BlockRamQueue(wiring.Component):
    """Words in order. Who writes counts them: no more than `depth` may have come that have not left.

    Throughput: a word a cycle in and out. Latency: `LATENCY`. Full back-pressure of the reader; a word that comes is always taken.

    Members
    -------
    i : In, stream of words, always ready. o : Out, stream of words.
    """

    LATENCY = 3

    i: stream.Interface
    o: stream.Interface

    def __init__(self, width: int, depth: int):
        self.width, self.depth = width, depth
        super().__init__({"i": In(stream.Signature(width, always_ready=True)), "o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = block_ram(self.width, self.depth)
        write, read = words.write_port(), words.read_port()
        # Words in the RAM that have not been read; what was read is at the RAM's output, then in the register behind it.
        level, out, ahead, step = Signal(range(self.depth + 1)), Signal(), Signal(), Signal()
        some = level != 0
        m.d.comb += [
            write.data.eq(self.i.payload), write.en.eq(self.i.valid),
            ahead.eq(out & (~self.o.valid | self.o.ready)),
            # Enabled whenever the register is, so that this can be the RAM's; what is read of an empty queue does not matter.
            read.en.eq(~out | ahead), step.eq(read.en & some),
        ]  # fmt: skip
        for port, go in ((write, write.en), (read, step)):
            with m.If(go):
                m.d.sync += port.addr.eq(Mux(port.addr == self.depth - 1, 0, port.addr + 1))
        m.d.sync += [level.eq(level + write.en - step), out.eq(Mux(read.en, some, out))]
        with m.If(ahead):
            m.d.sync += [self.o.payload.eq(read.data), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
