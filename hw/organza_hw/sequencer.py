"""Walks the schedule of a layer: one issue a cycle, no gap between taps, tiles, rows or images.

It waits only before an output row: for input rows that have not arrived, and for a free output row.
"""

from functools import cached_property

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.row_buffer import RingLayout
from organza_hw.table import Table

OUTPUT_ROWS = 2
ADDRESS_LATENCY = 3
RELEASE_LATENCY = 3


class SequencerTables:
    """The schedule as table rows: vertical taps of every output row, horizontal taps of every block."""

    def __init__(self, ring: RingLayout, *, pixel_beats: int):
        self.ring, self.schedule, self.pixel_beats = ring, ring.schedule, pixel_beats

    @cached_property
    def rows(self) -> list[dict]:
        """One entry a (row, vertical tap); one for a row without taps."""
        made = []
        node = self.schedule.node
        tap_words = node.x.kernel * self.schedule.ci_tiles
        for y, (taps, need) in enumerate(zip(node.y.table, self.schedule.rows, strict=True)):
            final = y == node.y.output - 1
            following = 0 if final else len(made) + max(len(taps), 1)
            for number, (k, row) in enumerate(taps or [(0, 0)]):
                made.append({
                    "slot": row % self.ring.depth, "weight": k * tap_words, "none": int(not taps),
                    "last": int(number == max(len(taps), 1) - 1), "final": int(final), "next": following,
                    "window": need.window, "release": need.release,
                })  # fmt: skip
        return made

    @cached_property
    def columns(self) -> list[dict]:
        """One entry a (block, horizontal tap); one for a block without taps."""
        made = []
        node, ring = self.schedule.node, self.ring
        for number, block in enumerate(self.schedule.blocks):
            final = number == len(self.schedule.blocks) - 1
            following = 0 if final else len(made) + max(len(block.taps), 1)
            shared = {"first": block.first * self.pixel_beats, "pixels": block.pixels,
                      "final": int(final), "next": following}  # fmt: skip
            if not block.taps:
                made.append({
                    "weight": 0, "address": [0] * ring.banks, "turn": 0, "mask": [0] * self.schedule.p,
                    "none": 1, "last": 1, **shared,
                })  # fmt: skip
            for position, tap in enumerate(block.taps):
                address = [0] * ring.banks
                for lane, exists in enumerate(tap.mask):
                    if exists:
                        bank, word = ring.place(tap.column + lane * node.x.pitch)
                        address[bank] = word
                made.append({
                    "weight": tap.k * self.schedule.ci_tiles, "address": address, "turn": tap.column % ring.banks,
                    "mask": [int(exists) for exists in tap.mask],
                    "none": 0, "last": int(position == len(block.taps) - 1), **shared,
                })  # fmt: skip
        return made


class Sequencer(wiring.Component):
    """Issues of one layer.

    Throughput: an issue every cycle in which the row may run. Latency: `ADDRESS_LATENCY` cycles from an issue to its
    `valid`, with the addresses of the ring and of the weights. No back-pressure after an issue: a row starts only when its
    whole output has a place.

    Members
    -------
    row_written : In(1), an input row has arrived. row_freed : In(1), an output row has been sent.
    release : Out, input rows that may be overwritten, `RELEASE_LATENCY` - 1 cycles after the last issue of a row.
    issue : Out, see `issue_layout`. ring_addr, weight_addr : Out.
    """

    row_written: Signal
    row_freed: Signal
    release: Signal
    issue: data.View
    ring_addr: data.View
    weight_addr: Signal

    def __init__(self, tables: SequencerTables, *, weight_words: int):
        self.tables, self.schedule, self.ring = tables, tables.schedule, tables.ring
        self.weight_words = weight_words
        self.issue_layout = data.StructLayout({
            "valid": 1,
            "first": 1,  # of a tile: load the accumulators
            "last": 1,  # of a tile
            "row_end": 1,  # last issue of an output row
            "turn": range(max(self.ring.banks, 2)),
            "mask": data.ArrayLayout(1, self.schedule.p),
            "partial": 1,  # last input-channel tile of a group
            "constant": range(max(self.schedule.co_tiles * self.schedule.chunks, 2)),
            "pixel": range(max(self.schedule.node.x.output * tables.pixel_beats, 2)),
            "pixels": range(self.schedule.p + 1),
        })  # fmt: skip
        super().__init__({
            "row_written": In(1),
            "row_freed": In(1),
            "release": Out(range(self.ring.depth + 1)),
            "issue": Out(self.issue_layout),
            "ring_addr": Out(data.ArrayLayout(range(max(self.ring.bank_words, 2)), self.ring.banks)),
            "weight_addr": Out(range(max(weight_words, 2))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        schedule, ring = self.schedule, self.ring
        m.submodules.rows = row_table = Table(self.tables.rows)
        m.submodules.columns = column_table = Table(self.tables.columns)
        row, column = row_table.row, column_table.row

        # Position in the loops; `*_start` is where the tile began.
        row_at, row_start = Signal.like(row_table.index), Signal.like(row_table.index)
        column_at, column_start = Signal.like(column_table.index), Signal.like(column_table.index)
        ci = Signal(range(max(schedule.ci_tiles, 2)))
        tile = Signal(range(max(schedule.co_tiles, 2)))
        group_tile = Signal(range(max(schedule.co_tiles // schedule.node.groups, 2)))
        group_word = Signal(range(max(ring.pixel_words, 2)))
        tile_weight = Signal(range(max(self.weight_words, 2)))
        constant = Signal(range(max(schedule.co_tiles * schedule.chunks, 2)))
        tile_begin, row_begin = Signal(init=1), Signal(init=1)
        m.d.comb += [row_table.index.eq(row_at), column_table.index.eq(column_at)]

        # May the row start?
        ahead = Signal(range(ring.depth + 1))  # rows arrived and not yet given up
        busy = Signal(range(OUTPUT_ROWS + 1))  # output rows not yet sent
        may = Signal()
        m.d.comb += may.eq(~row_begin | ((ahead >= row.window) & (busy < OUTPUT_ROWS)))

        none, tile_last = Signal(), Signal()
        m.d.comb += [
            none.eq(row.none | column.none),
            tile_last.eq(none | ((ci == schedule.ci_tiles - 1) & column.last & row.last)),
        ]
        fire = Signal()
        if any(
            schedule.tile_issues(len(taps), len(block.taps)) < schedule.drain
            for taps in schedule.node.y.table
            for block in schedule.blocks
        ):
            # Hold the last issue of a short tile until the epilogue has emptied the tile before it.
            elapsed = Signal(range(schedule.drain))
            m.d.comb += fire.eq(may & (~tile_last | (elapsed == schedule.drain - 1)))
            with m.If(fire & tile_last):
                m.d.sync += elapsed.eq(0)
            with m.Elif(may & (elapsed != schedule.drain - 1)):
                m.d.sync += elapsed.eq(elapsed + 1)
        else:
            m.d.comb += fire.eq(may)

        column_end, row_end = Signal(), Signal()
        m.d.comb += [
            column_end.eq(tile_last & column.final),
            row_end.eq(column_end & (tile == schedule.co_tiles - 1)),
        ]
        with m.If(fire):
            m.d.sync += [row_begin.eq(row_end), tile_begin.eq(tile_last)]
            with m.If(~tile_last):
                m.d.sync += ci.eq(ci + 1)
                with m.If(ci == schedule.ci_tiles - 1):
                    m.d.sync += [ci.eq(0), column_at.eq(column_at + 1)]
                    with m.If(column.last):
                        m.d.sync += [column_at.eq(column_start), row_at.eq(row_at + 1)]
            with m.Else():
                m.d.sync += [
                    ci.eq(0),
                    column_at.eq(column.next), column_start.eq(column.next),
                    row_at.eq(row_start),
                ]  # fmt: skip
            with m.If(column_end):
                m.d.sync += [
                    tile.eq(tile + 1),
                    tile_weight.eq(tile_weight + self.weight_words // schedule.co_tiles),
                    constant.eq(constant + schedule.chunks),
                    group_tile.eq(group_tile + 1),
                ]
                with m.If(group_tile == schedule.co_tiles // schedule.node.groups - 1):
                    m.d.sync += [group_tile.eq(0), group_word.eq(group_word + schedule.ci_tiles)]
            with m.If(row_end):
                m.d.sync += [
                    tile.eq(0), tile_weight.eq(0), constant.eq(0), group_word.eq(0),
                    row_at.eq(row.next), row_start.eq(row.next),
                ]  # fmt: skip

        release = Signal.like(self.release)
        m.d.comb += release.eq(Mux(fire & row_end, row.release, 0))
        delayed = Signal.like(release)
        m.d.sync += [
            ahead.eq(ahead + self.row_written - release),
            busy.eq(busy + (fire & row_begin) - self.row_freed),
            delayed.eq(release),
            self.release.eq(delayed),
        ]

        # Addresses: three registered steps.
        origin = Signal(range(max(ring.depth, 2)))  # slot of the image's first row
        with m.If(fire & row_end & row.final):
            turned = origin + schedule.node.y.size % ring.depth
            m.d.sync += origin.eq(Mux(turned >= ring.depth, turned - ring.depth, turned))
        one = Signal(self.issue_layout)
        weight_row, weight_column = Signal.like(self.weight_addr), Signal.like(self.weight_addr)
        slot, from_origin = Signal.like(row.slot), Signal.like(origin)
        place, word = Signal.like(column.address), Signal.like(group_word)
        m.d.sync += [
            one.valid.eq(fire), one.first.eq(tile_begin), one.last.eq(tile_last), one.row_end.eq(row_end),
            one.turn.eq(column.turn), one.mask.eq(Mux(row.none, 0, column.mask.as_value())),
            one.partial.eq(ci == schedule.ci_tiles - 1),
            one.constant.eq(constant), one.pixel.eq(column.first), one.pixels.eq(column.pixels),
            weight_row.eq(tile_weight + row.weight), weight_column.eq(column.weight + ci),
            slot.eq(row.slot), from_origin.eq(origin),
            place.eq(column.address), word.eq(group_word + ci),
        ]  # fmt: skip
        two = Signal(self.issue_layout)
        weight = Signal.like(self.weight_addr)
        slot_word = Signal(range(max(ring.bank_words, 2)))
        words = Signal(data.ArrayLayout(range(max(ring.row_words, 2)), ring.banks))
        turned = slot + from_origin
        slots = Array(number % ring.depth * ring.row_words for number in range(2 * ring.depth))
        m.d.sync += [two.eq(one), weight.eq(weight_row + weight_column), slot_word.eq(slots[turned])]
        m.d.sync += [words[bank].eq(place[bank] + word) for bank in range(ring.banks)]
        m.d.sync += [self.issue.eq(two), self.weight_addr.eq(weight)]
        m.d.sync += [self.ring_addr[bank].eq(slot_word + words[bank]) for bank in range(ring.banks)]
        return m
