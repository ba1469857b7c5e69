"""Two output rows: written in the order in which an engine finishes pixels, sent in raster order."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.joint import joint_signature
from organza_hw.lane_memory import LaneMemory
from organza_hw.sequencer import OUTPUT_ROWS


class OutputRows(wiring.Component):
    """Restores raster order, one beat a cycle, full back-pressure on `o`.

    Latency: the first beat of a row is at `o` two cycles after the `w_last` that completes the row.

    Parameters
    ----------
    shape : of a value. n : channels a beat. channels, height, width : of the layer's output. e : values a write.
    offsets : channel offsets inside a beat at which writes start. straddle : writes may run over the end of a beat.

    Members
    -------
    w_en, w_addr, w_offset, w_count, w_data : In; `w_addr` = output row % 2 * row words + pixel * beats a pixel + beat.
    w_last : In(1), the row is complete with this cycle. o : Out, stream. row_freed : Out(1), a row has left the memory.
    """

    w_en: Signal
    w_addr: Signal
    w_offset: Signal
    w_count: Signal
    w_data: data.View
    w_last: Signal
    o: stream.Interface
    row_freed: Signal

    def __init__(self, *, shape, n, channels, height, width, e, offsets, straddle):
        self.n, self.channels, self.height = n, channels, height
        self.pixel_beats = -(-channels // n)
        self.row_words = width * self.pixel_beats
        self.memory = LaneMemory(
            shape=shape, depth=OUTPUT_ROWS * self.row_words, lanes=n, width=e, offsets=offsets, straddle=straddle
        )
        member = self.memory.signature.members
        super().__init__({
            **{name: member[name] for name in ("w_en", "w_addr", "w_offset", "w_count", "w_data")},
            "w_last": In(1),
            "o": Out(joint_signature(shape, n)),
            "row_freed": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self.memory
        ready_rows = Signal(range(OUTPUT_ROWS + 1))
        at = Signal(range(max(rows.depth, 2)))
        beat = Signal(range(max(self.row_words, 2)))
        group = Signal(range(max(self.pixel_beats, 2)))
        row = Signal(range(max(self.height, 2)))
        group_last, last = Signal(), Signal()

        advance, read = Signal(), Signal()
        m.d.comb += [
            rows.w_en.eq(self.w_en), rows.w_addr.eq(self.w_addr), rows.w_offset.eq(self.w_offset),
            rows.w_count.eq(self.w_count), rows.w_data.eq(self.w_data),
            advance.eq(~self.o.valid | self.o.ready),
            read.eq(advance & (ready_rows != 0)),
            rows.r_en.eq(read),
            rows.r_addr.eq(at),
            self.row_freed.eq(read & (beat == self.row_words - 1)),
        ]  # fmt: skip
        m.d.sync += ready_rows.eq(ready_rows + self.w_last - self.row_freed)
        with m.If(advance):
            m.d.sync += self.o.valid.eq(read)
        with m.If(read):
            m.d.sync += [
                at.eq(Mux(at == rows.depth - 1, 0, at + 1)),
                beat.eq(Mux(self.row_freed, 0, beat + 1)),
                group.eq(Mux(group == self.pixel_beats - 1, 0, group + 1)),
                group_last.eq(group == self.pixel_beats - 1),
                last.eq(self.row_freed & (row == self.height - 1)),
            ]
            with m.If(self.row_freed):
                m.d.sync += row.eq(Mux(row == self.height - 1, 0, row + 1))

        m.d.comb += self.o.payload.last.eq(last)
        used = self.channels - (self.pixel_beats - 1) * self.n  # lanes of a pixel's last beat
        for lane in range(self.n):
            value = rows.r_data[lane]
            m.d.comb += self.o.payload.data[lane].eq(value if lane < used else Mux(group_last, 0, value))
        return m
