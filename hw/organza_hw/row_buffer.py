"""The ring of input rows in front of an engine: takes beats of n channels, hands out P pixels × `span` channels a cycle."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.schedule import Schedule, ceil_div
from organza_hw.joint import joint_signature
from organza_hw.lane_memory import LaneMemory, Piece
from organza_hw.lanes.dot import register
from organza_hw.table import Table


class RingLayout:
    """Where channel c of pixel x of row r lies in the ring of a layer.

    Pixel columns are dealt to `banks` so that the P pixels of one issue, `pitch` columns apart, lie in different banks.
    A word is `Schedule.span` consecutive channels of one group: Ti, or a block of a code that gathers; a pixel has `pixel_words` of them. A beat of n channels is written in
    `pieces_per_beat` cycles.

    banks : those of several layouts that share a memory; left out, as few as will do.
    """

    def __init__(self, schedule: Schedule, *, n: int, depth: int, banks: int | None = None):
        node = schedule.node
        if not 1 <= n <= node.ci:
            raise ValueError(f"{node.name}: joint n must be between 1 and {node.ci}, not {n}")
        if depth < schedule.least_depth:
            raise ValueError(f"{node.name}: ring depth must be at least {schedule.least_depth}, not {depth}")
        self.schedule, self.n, self.depth = schedule, n, depth
        self.lanes = schedule.span
        group = node.ci // node.groups
        # Channels of one beat share a rotation only while tiles of neighbouring groups follow each other without a gap.
        aligned = node.groups == 1 or group % self.lanes == 0
        self.width = min(n, self.lanes) if aligned else 1
        self.pieces_per_beat = ceil_div(n, self.width)
        self.beats_per_pixel = ceil_div(node.ci, n)
        self.pixel_words = node.groups * schedule.ci_tiles
        self.banks = banks or schedule.p
        while not banks and math.gcd(self.banks, node.x.pitch) != 1 and schedule.p > 1:
            self.banks += 1
        self.bank_columns = ceil_div(node.x.size, self.banks)
        self.row_words = self.bank_columns * self.pixel_words
        self.bank_words = self.row_words * depth

    @cached_property
    def pieces(self) -> list[Piece]:
        """Writes that one pixel takes, in order of arrival."""
        node, made = self.schedule.node, []
        group = node.ci // node.groups
        for beat in range(self.beats_per_pixel):
            for piece in range(self.pieces_per_beat):
                channel = beat * self.n + piece * self.width
                count = min(self.width, self.n - piece * self.width, node.ci - channel)
                if count <= 0:
                    made.append(Piece(0, 0, 0))
                    continue
                word = channel // group * self.schedule.ci_tiles + channel % group // self.lanes
                made.append(Piece(word, channel % group % self.lanes, count))
        return made

    @property
    def row_beats(self) -> int:
        """Beats of one input row."""
        return self.schedule.node.x.size * self.beats_per_pixel

    def place(self, column: int) -> tuple[int, int]:
        """Bank, and first word inside the bank's row, of a pixel column."""
        return column % self.banks, column // self.banks * self.pixel_words


class RowBuffer(wiring.Component):
    """Ring of `depth` rows.

    Throughput: a beat every `layout.pieces_per_beat` cycles. Back-pressure: a row is taken only when the ring has a free
    row, and then without a pause. Latency: a row counted by `row_written` in one cycle can be read from the next but one
    on; reads take `LATENCY` cycles.

    Members
    -------
    i : In(joint_signature(shape, n)). `last` is not needed here: rows are counted.
    row_written : Out(1), high in the cycle that takes the last beat of a row.
    release : In, number of oldest rows that may be overwritten from the next cycle on.
    r_addr : In, one address for each bank. r_data : Out, one word of each bank, `LATENCY` cycles later.
    """

    LATENCY = 2

    i: stream.Interface
    row_written: Signal
    release: Signal
    r_addr: data.View
    r_data: data.View

    def __init__(self, layout: RingLayout, shape):
        self.layout, self.shape = layout, Shape.cast(shape)
        super().__init__({
            "i": In(joint_signature(self.shape, layout.n)),
            "row_written": Out(1),
            "release": In(range(layout.depth + 1)),
            "r_addr": In(data.ArrayLayout(range(max(layout.bank_words, 2)), layout.banks)),
            "r_data": Out(data.ArrayLayout(data.ArrayLayout(self.shape, layout.lanes), layout.banks)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        layout = self.layout
        level = Signal(range(layout.depth + 1))
        writes = row_writes(m, layout, self.shape, self.i, level < layout.depth)
        m.d.comb += self.row_written.eq(writes.row_written)
        m.d.sync += level.eq(level + self.row_written - self.release)
        offsets = {p.offset for p in layout.pieces if p.count}
        straddle = any(p.offset + p.count > layout.lanes for p in layout.pieces)
        for number in range(layout.banks):
            m.submodules[f"bank{number}"] = ram = LaneMemory(
                shape=self.shape, depth=layout.bank_words, lanes=layout.lanes, width=layout.width,
                offsets=offsets, straddle=straddle,
            )  # fmt: skip
            m.d.comb += [
                ram.w_en.eq(writes.bank == number),
                ram.w_addr.eq(writes.addr),
                ram.w_offset.eq(writes.offset),
                ram.w_count.eq(writes.count),
                ram.w_data.eq(writes.values),
                ram.r_en.eq(1),
                ram.r_addr.eq(self.r_addr[number]),
                self.r_data[number].eq(register(m, ram.r_data, reset=False)),
            ]
        return m


@dataclass(frozen=True)
class RowWrites:
    """What a stream of rows writes, in the cycle after its beats: `count` values of a word of a bank, see `LaneMemory`.

    row_written : high in the cycle that takes the last beat of a row.
    """

    bank: Signal
    addr: Signal
    offset: Signal
    count: Signal
    values: Any
    row_written: Signal


def row_writes(m, layout: RingLayout, shape, beats, may) -> RowWrites:
    """Take rows from the stream `beats` while `may` holds, a beat every `layout.pieces_per_beat` cycles, round and round the ring."""
    pieces = layout.pieces
    m.submodules.pieces = table = Table(
        [{"word": p.word, "offset": p.offset, "count": p.count} for p in pieces]
    )
    part = Signal(range(max(layout.pieces_per_beat, 2)))
    bank = Signal(range(max(layout.banks, 2)))
    column = Signal(range(max(layout.schedule.node.x.size, 2)))
    base = Signal(range(max(layout.bank_words, 2)))  # of the current pixel
    start = Signal(range(max(layout.bank_words, 2)))  # of the current row

    take = Signal()
    part_last, pixel_last, row_last, row_written = Signal(), Signal(), Signal(), Signal()
    m.d.comb += [
        take.eq(beats.valid & may),
        part_last.eq(part == layout.pieces_per_beat - 1),
        pixel_last.eq(part_last & (table.index == len(pieces) - 1)),
        row_last.eq(pixel_last & (column == layout.schedule.node.x.size - 1)),
        beats.ready.eq(may & part_last),
        row_written.eq(take & row_last),
    ]

    index = Signal.like(table.index)
    m.d.comb += table.index.eq(index)
    with m.If(take):
        m.d.sync += [part.eq(Mux(part_last, 0, part + 1)), index.eq(Mux(pixel_last, 0, index + 1))]
        with m.If(pixel_last):
            m.d.sync += column.eq(column + 1)
            if layout.banks > 1:
                m.d.sync += bank.eq(bank + 1)
                with m.If(bank == layout.banks - 1):
                    m.d.sync += [bank.eq(0), base.eq(base + layout.pixel_words)]
            else:
                m.d.sync += base.eq(base + layout.pixel_words)
        with m.If(row_last):
            following = Signal.like(start)
            m.d.comb += following.eq(
                Mux(start == layout.bank_words - layout.row_words, 0, start + layout.row_words)
            )
            m.d.sync += [column.eq(0), bank.eq(0), base.eq(following), start.eq(following)]

    # One register between the stream and the memories.
    addr, offset = Signal.like(base), Signal(range(max(layout.lanes, 2)))
    count, chosen = Signal(range(layout.width + 1)), Signal.like(bank)
    values = Signal(data.ArrayLayout(shape, layout.width))
    beat = beats.payload.data.as_value()
    bits = layout.width * Shape.cast(shape).width
    m.d.sync += [
        addr.eq(base + table.row.word),
        offset.eq(table.row.offset),
        count.eq(Mux(take, table.row.count, 0)),
        chosen.eq(bank),
        values.as_value().eq(beat.word_select(part, bits) if layout.pieces_per_beat > 1 else beat),
    ]
    return RowWrites(chosen, addr, offset, count, values, row_written)
