"""Two output units, rows or images: written in the order in which an engine finishes pixels, sent in raster order."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.joint import joint_signature
from organza_hw.lane_memory import LaneMemory
from organza_hw.sequencer import OUTPUT_UNITS


class OutputRows(wiring.Component):
    """Restores raster order, one beat a cycle, full back-pressure on `o`.

    Latency: the first beat of a unit is at `o` three cycles after the `w_last` that completes the unit. A beat waits in the
    memory's output and moves on to `o`, because the former comes late in a cycle.

    Parameters
    ----------
    shape : of a value. n : channels a beat. channels, height, width : of the layer's output. rows : of a unit.
    e : values a write.
    offsets : channel offsets inside a beat at which writes start. straddle : writes may run over the end of a beat.

    Members
    -------
    w_en, w_addr, w_offset, w_count, w_data : In; `w_addr` = unit % 2 * unit words + pixel of the unit * beats a pixel + beat.
    w_last : In(1), the unit is complete with this cycle. o : Out, stream. unit_freed : Out(1), a unit has left the memory
        and its output.
    """

    w_en: Signal
    w_addr: Signal
    w_offset: Signal
    w_count: Signal
    w_data: data.View
    w_last: Signal
    o: stream.Interface
    unit_freed: Signal

    def __init__(self, *, shape, n, channels, height, width, rows, e, offsets, straddle):
        self.n, self.channels, self.units = n, channels, height // rows
        self.pixel_beats = -(-channels // n)
        self.unit_words = rows * width * self.pixel_beats
        self.memory = LaneMemory(
            shape=shape, depth=OUTPUT_UNITS * self.unit_words, lanes=n, width=e, offsets=offsets, straddle=straddle
        )
        member = self.memory.signature.members
        super().__init__({
            **{name: member[name] for name in ("w_en", "w_addr", "w_offset", "w_count", "w_data")},
            "w_last": In(1),
            "o": Out(joint_signature(shape, n)),
            "unit_freed": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = self.memory
        complete = Signal(range(OUTPUT_UNITS + 1))
        at = Signal(range(max(rows.depth, 2)))
        beat = Signal(range(max(self.unit_words, 2)))
        group = Signal(range(max(self.pixel_beats, 2)))
        unit = Signal(range(max(self.units, 2)))
        group_last, unit_last, last = Signal(), Signal(), Signal()
        there = Signal()  # the memory's output is a beat

        move, advance, read, read_last = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            rows.w_en.eq(self.w_en), rows.w_addr.eq(self.w_addr), rows.w_offset.eq(self.w_offset),
            rows.w_count.eq(self.w_count), rows.w_data.eq(self.w_data),
            move.eq(~self.o.valid | self.o.ready),
            advance.eq(~there | move),
            read.eq(advance & (complete != 0)),
            read_last.eq(read & (beat == self.unit_words - 1)),
            rows.r_en.eq(read),
            rows.r_addr.eq(at),
            self.unit_freed.eq(there & move & unit_last),
        ]  # fmt: skip
        m.d.sync += complete.eq(complete + self.w_last - read_last)
        with m.If(advance):
            m.d.sync += there.eq(read)
        with m.If(move):
            m.d.sync += self.o.valid.eq(there)
        with m.If(read):
            m.d.sync += [
                at.eq(Mux(at == rows.depth - 1, 0, at + 1)),
                beat.eq(Mux(read_last, 0, beat + 1)),
                group.eq(Mux(group == self.pixel_beats - 1, 0, group + 1)),
                group_last.eq(group == self.pixel_beats - 1),
                unit_last.eq(read_last),
                last.eq(read_last & (unit == self.units - 1)),
            ]
            with m.If(read_last):
                m.d.sync += unit.eq(Mux(unit == self.units - 1, 0, unit + 1))

        used = self.channels - (self.pixel_beats - 1) * self.n  # lanes of a pixel's last beat
        with m.If(move):
            m.d.sync += self.o.payload.last.eq(last)
            for lane in range(self.n):
                value = rows.r_data[lane]
                m.d.sync += self.o.payload.data[lane].eq(value if lane < used else Mux(group_last, 0, value))
        return m
