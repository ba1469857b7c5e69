"""Walks the schedule of a layer: one issue a cycle, no gap between taps, tiles, rows or images.

It waits only before an output row: for input rows that have not arrived, and for a free output row.

Where every (co tile, tap) has the same number of issues, as in all dense codes and balanced sparse ones, a constant and
some adders do for lane word addresses. Otherwise a table has the first word and the number of words of each.
"""

from functools import cached_property

import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.rom import Rom
from organza_hw.row_buffer import RingLayout
from organza_hw.table import Table

OUTPUT_ROWS = 2
# Of codes whose lane words read the ring one word after the other; others look the ring word up first.
ADDRESS_LATENCY = 3
RELEASE_LATENCY = 3


def lookup_latency(schedule) -> int:
    """Cycles that addresses, and so releases, come later because the ring word of an issue must be looked up."""
    return int(schedule.node.code.gathers)


def address_latency(schedule) -> int:
    """Cycles from an issue to its `valid`, with the addresses of the ring and of the weights."""
    return ADDRESS_LATENCY + lookup_latency(schedule)


def release_latency(schedule) -> int:
    """Cycles from the last issue of a row to the first that may take another row in its place."""
    return RELEASE_LATENCY + lookup_latency(schedule)


class SequencerTables:
    """The schedule as table rows: vertical taps of every output row, horizontal taps of every block."""

    def __init__(self, ring: RingLayout, *, pixel_beats: int):
        self.ring, self.schedule, self.pixel_beats = ring, ring.schedule, pixel_beats
        issues = self.schedule.tap_issues
        self.most_issues = int(issues.max())  # of a (co tile, tap)
        self.uniform = bool((issues == self.most_issues).all())
        # What a column, row and tile of taps count as `weight`: words, or places in the table of taps. There each has
        # its own bits, so that nothing must be added in front of the table that every issue waits for.
        _, ky, kx = issues.shape
        if self.uniform:
            self.tap_step, self.row_step = self.most_issues, self.most_issues * kx
            self.tile_step = self.row_step * ky
        else:
            self.tap_step, self.row_step = 1, 1 << (kx - 1).bit_length()
            self.tile_step = self.row_step << (ky - 1).bit_length()

    @cached_property
    def taps(self) -> list[dict]:
        """By `weight`, for every (co tile, tap): its first lane word and its number of issues - 1."""
        issues = self.schedule.tap_issues
        made = [{"start": 0, "more": 0}] * (self.tile_step * len(issues))
        start = 0
        for (tile, ky, kx), count in np.ndenumerate(issues):
            made[tile * self.tile_step + ky * self.row_step + kx] = {"start": start, "more": int(count) - 1}
            start += int(count)
        return made

    @cached_property
    def rows(self) -> list[dict]:
        """One entry a (row, vertical tap); one for a row without taps."""
        made = []
        node = self.schedule.node
        for y, (taps, need) in enumerate(zip(node.y.table, self.schedule.rows, strict=True)):
            final = y == node.y.output - 1
            following = 0 if final else len(made) + max(len(taps), 1)
            for number, (k, row) in enumerate(taps or [(0, 0)]):
                made.append({
                    "slot": row % self.ring.depth, "weight": k * self.row_step, "none": int(not taps),
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
                    "weight": tap.k * self.tap_step, "address": address, "turn": tap.column % ring.banks,
                    "mask": [int(exists) for exists in tap.mask],
                    "none": 0, "last": int(position == len(block.taps) - 1), **shared,
                })  # fmt: skip
        return made


class Sequencer(wiring.Component):
    """Issues of one layer.

    Throughput: an issue every cycle in which the row may run. Latency: `address_latency` cycles from an issue to its
    `valid`, with the addresses of the ring and of the weights. No back-pressure after an issue: a row starts only when its
    whole output has a place.

    Parameters
    ----------
    weight_words : lane words. blocks : `Rom` with the ring word of every lane word, None if they follow each other.

    Members
    -------
    enable : In(1), nothing is issued before it; stays.
    row_written : In(1), an input row has arrived. row_freed : In(1), an output row has been sent.
    release : Out, input rows that may be overwritten, `release_latency` - 1 cycles after the last issue of a row.
    issue : Out, see `issue_layout`. ring_addr, weight_addr : Out.
    """

    enable: Signal
    row_written: Signal
    row_freed: Signal
    release: Signal
    issue: data.View
    ring_addr: data.View
    weight_addr: Signal

    def __init__(self, tables: SequencerTables, *, weight_words: int, blocks: Rom | None = None):
        self.tables, self.schedule, self.ring = tables, tables.schedule, tables.ring
        self.weight_words, self.blocks = weight_words, blocks
        self.issue_layout = data.StructLayout({
            "valid": 1,
            "first": 1,  # of a tile: load the accumulators
            "last": 1,  # of a tile
            "row_end": 1,  # last issue of an output row
            "turn": range(max(self.ring.banks, 2)),
            "mask": data.ArrayLayout(1, self.schedule.p),
            "partial": 1,  # last input-channel tile of a group, where they follow each other
            "constant": range(max(self.schedule.co_tiles * self.schedule.chunks, 2)),
            "pixel": range(max(self.schedule.node.x.output * tables.pixel_beats, 2)),
            "pixels": range(self.schedule.p + 1),
        })  # fmt: skip
        super().__init__({
            "enable": In(1, init=1),  # pyright: ignore[reportCallIssue] (the stubs know no init)
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
        ci = Signal(range(max(self.tables.most_issues, 2)))  # issue of the tap
        tile = Signal(range(max(schedule.co_tiles, 2)))
        group_tile = Signal(range(max(schedule.co_tiles // schedule.node.groups, 2)))
        group_word = Signal(range(max(ring.pixel_words, 2)))
        # First of the tile: word, or place in the table of taps.
        tile_weight = Signal(range(max(self.tables.tile_step * schedule.co_tiles, 2)))
        constant = Signal(range(max(schedule.co_tiles * schedule.chunks, 2)))
        tile_begin, row_begin = Signal(init=1), Signal(init=1)
        m.d.comb += [row_table.index.eq(row_at), column_table.index.eq(column_at)]

        # May the row start?
        ahead = Signal(range(ring.depth + 1))  # rows arrived and not yet given up
        busy = Signal(range(OUTPUT_ROWS + 1))  # output rows not yet sent
        may = Signal()
        m.d.comb += may.eq(~row_begin | (self.enable & (ahead >= row.window) & (busy < OUTPUT_ROWS)))

        none, tile_last = Signal(), Signal()
        tap_last = Signal()
        if self.tables.uniform:
            m.d.comb += tap_last.eq(ci == self.tables.most_issues - 1)
        else:
            m.submodules.counts = counts = Table([{"more": tap["more"]} for tap in self.tables.taps])
            m.d.comb += [
                counts.index.eq(tile_weight | row.weight | column.weight),
                tap_last.eq(ci == counts.row.more),
            ]
        m.d.comb += [
            none.eq(row.none | column.none),
            tile_last.eq(none | (tap_last & column.last & row.last)),
        ]
        fire = Signal()
        if schedule.pause:
            # The lanes are emptied before the first issue of a tile.
            left = Signal(range(schedule.pause + 1), init=schedule.pause)
            m.d.comb += fire.eq(may & (left == 0))
            with m.If(fire & tile_last):
                m.d.sync += left.eq(schedule.pause)
            with m.Elif(may & (left != 0)):
                m.d.sync += left.eq(left - 1)
        elif schedule.shortest_tile < schedule.drain:
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
                with m.If(tap_last):
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
                    tile_weight.eq(tile_weight + self.tables.tile_step),
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
        m.d.sync += [
            ahead.eq(ahead + self.row_written - release),
            busy.eq(busy + (fire & row_begin) - self.row_freed),
        ]
        for _ in range(release_latency(schedule) - 2):
            delayed = Signal.like(release)
            m.d.sync += delayed.eq(release)
            release = delayed
        m.d.sync += self.release.eq(release)

        # Addresses: three registered steps, and one to look up the ring word.
        origin = Signal(range(max(ring.depth, 2)))  # slot of the image's first row
        with m.If(fire & row_end & row.final):
            turned = origin + schedule.node.y.size % ring.depth
            m.d.sync += origin.eq(Mux(turned >= ring.depth, turned - ring.depth, turned))
        one = Signal(self.issue_layout)
        weight_row, weight_column = Signal.like(tile_weight), Signal.like(tile_weight)
        slot, from_origin = Signal.like(row.slot), Signal.like(origin)
        place, word = Signal.like(column.address), Signal.like(group_word)
        m.d.sync += [
            one.valid.eq(fire), one.first.eq(tile_begin), one.last.eq(tile_last), one.row_end.eq(row_end),
            one.turn.eq(column.turn), one.mask.eq(Mux(row.none, 0, column.mask.as_value())),
            one.partial.eq(0 if self.blocks else tap_last),
            one.constant.eq(constant), one.pixel.eq(column.first), one.pixels.eq(column.pixels),
            weight_row.eq(tile_weight + row.weight if self.tables.uniform else tile_weight | row.weight),
            weight_column.eq(column.weight + ci if self.tables.uniform else column.weight),
            slot.eq(row.slot), from_origin.eq(origin),
            place.eq(column.address), word.eq(group_word if self.blocks else group_word + ci),
        ]  # fmt: skip
        two = Signal(self.issue_layout)
        weight = Signal.like(self.weight_addr)
        slot_word = Signal(range(max(ring.bank_words, 2)))
        words = Signal(data.ArrayLayout(range(max(ring.row_words, 2)), ring.banks))
        turned = slot + from_origin
        slots = Array(number % ring.depth * ring.row_words for number in range(2 * ring.depth))
        m.d.sync += [two.eq(one), slot_word.eq(slots[turned])]
        if self.tables.uniform:
            m.d.sync += weight.eq(weight_row + weight_column)
        else:
            m.submodules.starts = starts = Table([{"start": tap["start"]} for tap in self.tables.taps])
            number = Signal.like(ci)
            m.d.sync += number.eq(ci)
            m.d.comb += starts.index.eq(weight_row | weight_column)
            m.d.sync += weight.eq(starts.row.start + number)
        m.d.sync += [words[bank].eq(place[bank] + word) for bank in range(ring.banks)]
        if self.blocks is None:
            m.d.sync += [self.issue.eq(two), self.weight_addr.eq(weight)]
            m.d.sync += [self.ring_addr[bank].eq(slot_word + words[bank]) for bank in range(ring.banks)]
            return m
        m.submodules.blocks = self.blocks
        three, looked_up = Signal(self.issue_layout), Signal.like(weight)
        base = Signal.like(self.ring_addr)
        m.d.comb += self.blocks.addr.eq(weight)
        m.d.sync += [three.eq(two), looked_up.eq(weight), self.issue.eq(three), self.weight_addr.eq(looked_up)]
        for bank in range(ring.banks):
            m.d.sync += [
                base[bank].eq(slot_word + words[bank]),
                self.ring_addr[bank].eq(base[bank] + self.blocks.data),
            ]
        return m
