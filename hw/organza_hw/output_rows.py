"""Output units, rows or images: written in the order in which an engine finishes pixels, sent in raster order."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.schedule import ceil_div
from organza_hw.joint import joint_signature
from organza_hw.lane_memory import LaneMemory
from organza_hw.lanes.dot import register
from organza_hw.sequencer import OUTPUT_UNITS
from organza_hw.table import Table


@dataclass(frozen=True)
class Columns:
    """How the pixels of a row of `width` share words: `together` of them that follow each other in one of `phases`."""

    width: int
    phases: int
    together: int

    @property
    def words(self) -> int:
        """Words of a row, for every beat of a pixel."""
        return self.phases * self.phase_words

    @property
    def phase_words(self) -> int:
        """Words of one phase."""
        return ceil_div(ceil_div(self.width, self.phases), self.together)

    def place(self, column: int) -> tuple[int, int]:
        """Word, and pixel in it."""
        number, phase = divmod(column, self.phases)
        return phase * self.phase_words + number // self.together, number % self.together

    def order(self, beats: int) -> list[dict]:
        """Words and pixels in raster order, each pixel with all its beats."""
        places = map(self.place, range(self.width))
        return [{"address": word * beats + beat, "lane": lane} for word, lane in places for beat in range(beats)]


class OutputRows(wiring.Component):
    """Restores raster order, one beat a cycle, full back-pressure on `o`.

    Latency: the first beat of a unit is at `o` three cycles after the `w_last` that completes the unit. A beat waits in the
    memory's output and moves on to `o`, because the former comes late in a cycle.

    Parameters
    ----------
    shape : of a value. n : channels a beat. channels, height, width : of the layer's output. rows : of a unit.
    e : values a write, of every pixel that it has. places : units. columns : how pixels share a word, if more than one does.
    offsets : channel offsets inside a beat at which writes start. straddle : writes may run over the end of a beat.

    Members
    -------
    w_en, w_addr, w_offset, w_count, w_data : In; `w_addr` = unit % places * unit words + pixel of the unit * beats a pixel + beat, or
        with `columns` what they say for the pixel; `w_en` has a bit a pixel, and `w_data` its E values.
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

    def __init__(
        self, *, shape, n, channels, height, width, rows, e, offsets, straddle, places=OUTPUT_UNITS, columns: Columns | None = None
    ):
        self.n, self.channels, self.units, self.places, self.columns, self.e = n, channels, height // rows, places, columns, e
        self.pixel_beats = -(-channels // n)
        self.unit_beats = rows * width * self.pixel_beats
        self.unit_words = columns.words * self.pixel_beats if columns else self.unit_beats
        self.memories = [
            LaneMemory(shape=shape, depth=places * self.unit_words, lanes=n, width=e, offsets=offsets, straddle=straddle)
            for _ in range(columns.together if columns else 1)
        ]
        member = self.memories[0].signature.members
        super().__init__({
            **{name: member[name] for name in ("w_addr", "w_offset", "w_count")},
            "w_en": In(len(self.memories)),
            "w_data": In(data.ArrayLayout(shape, e * len(self.memories))),
            "w_last": In(1),
            "o": Out(joint_signature(shape, n)),
            "unit_freed": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        rows = self.memories
        complete = Signal(range(self.places + 1))
        following = Signal(range(max(self.unit_beats, 2)), init=1 % self.unit_beats)  # beat behind the one that is read
        group = Signal(range(max(self.pixel_beats, 2)))
        unit = Signal(range(max(self.units, 2)))
        group_last, unit_last, last = Signal(), Signal(), Signal()
        there = Signal()  # the memory's output is a beat

        move, advance, read, read_last = Signal(), Signal(), Signal(), Signal()
        address, lane = self._reads(m, read, read_last, following)
        for number, memory in enumerate(rows):
            m.submodules[f"rows{number}" if number else "rows"] = memory
            m.d.comb += [
                memory.w_en.eq(self.w_en[number]), memory.w_addr.eq(self.w_addr), memory.w_offset.eq(self.w_offset),
                memory.w_count.eq(self.w_count), *(memory.w_data[k].eq(self.w_data[number * self.e + k]) for k in range(self.e)),
                memory.r_en.eq(advance), memory.r_addr.eq(address),
            ]  # fmt: skip
        m.d.comb += [
            move.eq(~self.o.valid | self.o.ready),
            advance.eq(~there | move),
            read.eq(advance & (complete != 0)),
            read_last.eq(read & (following == 0)),
            self.unit_freed.eq(there & move & unit_last),
        ]  # fmt: skip
        m.d.sync += complete.eq(complete + self.w_last - read_last)
        with m.If(advance):
            m.d.sync += there.eq(read)
        with m.If(move):
            m.d.sync += self.o.valid.eq(there)
        with m.If(read):
            m.d.sync += [
                following.eq(Mux(following == self.unit_beats - 1, 0, following + 1)),
                group.eq(Mux(group == self.pixel_beats - 1, 0, group + 1)),
                group_last.eq(group == self.pixel_beats - 1),
                unit_last.eq(read_last),
                last.eq(read_last & (unit == self.units - 1)),
            ]
            with m.If(read_last):
                m.d.sync += unit.eq(Mux(unit == self.units - 1, 0, unit + 1))

        used = self.channels - (self.pixel_beats - 1) * self.n  # lanes of a pixel's last beat
        values = [Array(memory.r_data[number] for memory in rows)[lane] for number in range(self.n)]
        # Without reset, and moving in no cycle in which the memory holds: a block RAM has such registers inside.
        sent = [register(m, value if number < used else Mux(group_last, 0, value), enable=move, reset=False)
                for number, value in enumerate(values)]  # fmt: skip
        m.d.comb += [self.o.payload.data[number].eq(value) for number, value in enumerate(sent)]
        with m.If(move):
            m.d.sync += self.o.payload.last.eq(last)
        return m

    def _reads(self, m, read, read_last, following):
        """Address of the beat that is next, and the pixel of its word in the cycle behind its `read`; `following` is the beat after it."""
        depth = self.memories[0].depth
        at, lane = Signal(range(max(depth, 2))), Signal(range(max(len(self.memories), 2)))
        if self.columns is None:
            with m.If(read):
                m.d.sync += at.eq(Mux(at == depth - 1, 0, at + 1))
            return at, lane
        # Looked up a beat ahead: logic in front of the memory would come on top of what a memory of LUTs has behind it.
        places = self.columns.order(self.pixel_beats)
        m.submodules.columns = order = Table(places)
        address, ahead = Signal.like(at, init=places[0]["address"]), Signal.like(lane, init=places[0]["lane"])
        start = Signal.like(at)  # of the next beat's unit
        m.d.comb += [
            order.index.eq(following), start.eq(Mux(read_last, Mux(at == depth - self.unit_words, 0, at + self.unit_words), at)),
        ]  # fmt: skip
        with m.If(read):
            m.d.sync += [at.eq(start), address.eq(start + order.row.address), ahead.eq(order.row.lane), lane.eq(ahead)]
        return address, lane
