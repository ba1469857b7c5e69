"""What belongs to values on their way through a pipeline waits in a memory beside it."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.block_ram import block_ram


class SideQueue(wiring.Component):
    """First in, first out. Registers all the way beside a pipeline would have as many bits a stage as a word.

    Latency: a word can be read from the cycle after `write` on, and is at `o` in the cycle after `read`, until the next one is. No
    back-pressure: `words` can wait, and no more are read than were written.

    Parameters
    ----------
    layout : of a word. words : the most that wait.

    Members
    -------
    write, i : In, a word comes. read : In, the oldest word is wanted. o : Out.
    """

    write: Signal
    i: data.View
    read: Signal
    o: data.View

    def __init__(self, layout, *, words: int):
        self.layout = layout
        # Both sides count alike: as many places as the counters have, without a comparison.
        self.depth = 1 << max((words - 1).bit_length(), 1)
        super().__init__({"write": In(1), "i": In(layout), "read": In(1), "o": Out(layout)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = block_ram(self.layout, self.depth)
        write, read = words.write_port(), words.read_port()
        m.d.sync += [write.addr.eq(write.addr + self.write), read.addr.eq(read.addr + self.read)]
        m.d.comb += [write.en.eq(self.write), write.data.eq(self.i), read.en.eq(self.read), self.o.eq(read.data)]
        return m
