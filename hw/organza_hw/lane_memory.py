"""A memory whose words are `lanes` values wide, written a few consecutive values at a time at any lane offset.

Both row memories of an engine are made of it: the ring writes n (or fewer) channels and reads Ti, the output rows write
E channels and read n, whatever these numbers are.
"""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.block_ram import block_ram
from organza_hw.lanes.dot import register


@dataclass(frozen=True)
class Piece:
    """`count` consecutive values that start at lane `offset` of word `word` and may run on into the next word."""

    word: int
    offset: int
    count: int


class LaneMemory(wiring.Component):
    """One write port with a lane offset, one read port.

    Latency: written values can be read from the next cycle on, `late` cycles later; reads take one cycle. No same-cycle read-write of a word.

    Parameters
    ----------
    shape : amaranth Shape of a value. depth : words. lanes : values a word. width : values a write, at most `lanes`.
    offsets : the lane offsets that can occur (fewer make a smaller rotation network).
    straddle : whether a write can run over the end of a word.
    late : registers between the rotation and the memory, where one rotation serves memories that lie far from each other.
    spread : writes of one value bring it to all lanes, of which one takes it: there is no rotation then.

    Members
    -------
    w_en, w_addr, w_offset, w_count, w_data : write `w_count` values from lane `w_offset` of word `w_addr` on.
    r_en, r_addr, r_data : read; `r_data` holds while `r_en` is low.
    """

    w_en: Signal
    w_addr: Signal
    w_offset: Signal
    w_count: Signal
    w_data: data.View
    r_en: Signal
    r_addr: Signal
    r_data: data.View

    def __init__(self, *, shape, depth, lanes, width, offsets, straddle, late=0, spread=False):
        if not 1 <= width <= lanes:
            raise ValueError(f"LaneMemory width must be between 1 and {lanes} lanes, not {width}")
        self.shape, self.depth, self.lanes, self.width = Shape.cast(shape), depth, lanes, width
        self.offsets, self.straddle, self.late, self.spread = sorted(set(offsets)), straddle, late, spread and width == 1
        address = range(max(depth, 2))
        super().__init__({
            "w_en": In(1),
            "w_addr": In(address),
            "w_offset": In(range(max(lanes, 2))),
            "w_count": In(range(width + 1)),
            "w_data": In(data.ArrayLayout(self.shape, width)),
            "r_en": In(1),
            "r_addr": In(address),
            "r_data": Out(data.ArrayLayout(self.shape, lanes)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        word = Signal(data.ArrayLayout(self.shape, self.lanes))
        enable = Signal(unsigned(self.lanes))
        carry = Signal(unsigned(self.lanes))  # lanes that belong to the next word
        if self.spread:
            m.d.comb += [lane.eq(self.w_data[0]) for lane in word]
        with m.Switch(self.w_offset):
            for offset in self.offsets:
                with m.Case(offset):
                    for lane in range(self.lanes):
                        source = (lane - offset) % self.lanes
                        if source < self.width:
                            if not self.spread:
                                m.d.comb += word[lane].eq(self.w_data[source])
                            m.d.comb += [
                                enable[lane].eq(self.w_en & (self.w_count > source)),
                                carry[lane].eq(lane < offset),
                            ]
        bits, late = self.shape.width, self.late
        address, enable, carry = (register(m, value, stages=late) for value in (self.w_addr, enable, carry))
        written = register(m, word.as_value(), stages=late, reset=False)
        if self.straddle:
            for lane in range(self.lanes):
                ram = block_ram(bits, self.depth)
                m.submodules[f"lane{lane}"] = ram
                write, read = ram.write_port(), ram.read_port()
                m.d.comb += [
                    write.en.eq(enable[lane]),
                    write.addr.eq(address + carry[lane]),
                    write.data.eq(written[lane * bits : (lane + 1) * bits]),
                    read.en.eq(self.r_en),
                    read.addr.eq(self.r_addr),
                    self.r_data.as_value()[lane * bits : (lane + 1) * bits].eq(read.data),
                ]
        else:
            ram = block_ram(data.ArrayLayout(bits, self.lanes), self.depth)
            m.submodules.words = ram
            write, read = ram.write_port(granularity=1), ram.read_port()
            m.d.comb += [
                write.en.eq(enable),
                write.addr.eq(address),
                write.data.eq(written),
                read.en.eq(self.r_en),
                read.addr.eq(self.r_addr),
                self.r_data.eq(read.data),
            ]
        return m
