"""What all orders of visiting a layer share: lane words by (co tile, tap), what an issue reads, and the walk's face."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.blocks import BlockTap
from organza_hw.row_buffer import RingLayout
from organza_hw.table import Table


class Tables(ABC):
    """The schedule of a layer as rows of constant tables; each order adds its own.

    Parameters
    ----------
    ring : where input pixels lie. pixel_beats : words of an output pixel in the output rows.

    Attributes
    ----------
    issue_fields : by name the shapes of what an issue says of its sums, in this order only.
    finished_fields : of what the accumulators tell the epilogue of the sums that leave: last of an output unit, first constant
        word, place of the first pixel in the unit, pixels.
    """

    issue_fields: dict

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
        schedule = self.schedule
        unit_pixels = schedule.visit.unit_rows * schedule.node.x.output
        self.finished_fields = {
            "unit_end": 1,
            "constant": range(max(schedule.co_tiles * schedule.chunks, 2)),
            "pixel": range(max(unit_pixels * pixel_beats, 2)),
            "pixels": range(schedule.p + 1),
        }

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

    def column_reads(self, tap: BlockTap | None) -> dict:
        """Table fields of what a block reads for one horizontal tap; None for a block that has none."""
        address = [0] * self.ring.banks
        if tap is None:
            return {"weight": 0, "address": address, "turn": 0, "mask": [0] * self.schedule.p, "none": 1}
        for lane, exists in enumerate(tap.mask):
            if exists:
                bank, word = self.ring.place(tap.position + lane * self.schedule.node.x.pitch)
                address[bank] = word
        return {
            "weight": tap.k * self.tap_step, "address": address, "turn": tap.position % self.ring.banks,
            "mask": [int(exists) for exists in tap.mask], "none": 0,
        }  # fmt: skip

    @property
    def turns(self) -> list[int]:
        """The banks that pixel lane 0 can read."""
        return sorted({self.column_reads(tap)["turn"] for block in self.schedule.blocks for tap in block.taps or [None]})

    @abstractmethod
    def create(self) -> "Walk":
        """The gateware that walks through the tables."""

    @abstractmethod
    def accumulators(self, **options) -> Any:
        """Component that adds up what the lanes make of the issues, see `organza_hw.accumulators.Accumulators`."""


class Walk(wiring.Component):
    """Position of an engine in the loops of its layer.

    Members
    -------
    may : In(1), what the issue reads is there, and its output has a place. fire : Out(1), it is issued; the position is
    the next one in the next cycle. at : Out, the issue:
        begin, end, final : first and last issue of an output unit, last issue of an image.
        window, release : input rows that the unit needs and gives up, see `organza.schedule.Needs`.
        first, last : load the sums; all of the tile are complete and the epilogue empties them.
        word : the first issue with its lane word, in weight order.
        slot, address, turn, mask, channel, partial : ring row, words by bank, first bank, pixel lanes, word inside the
            pixel; last input-channel tile of a group, where they follow each other.
        tile, row, column, number : parts of the place of its lane word.
        sums : `Tables.issue_fields`.
    """

    may: Signal
    fire: Signal
    at: data.View

    def __init__(self, tables: Tables, *, slot, address, window, release):
        self.tables, self.schedule, self.ring = tables, tables.schedule, tables.ring
        weights = range(max(tables.tile_step * self.schedule.co_tiles, 2))
        super().__init__({
            "may": In(1), "fire": Out(1),
            "at": Out(data.StructLayout({
                "begin": 1, "end": 1, "final": 1, "window": window, "release": release, "first": 1, "last": 1, "word": 1,
                "slot": slot, "address": address, "turn": range(max(self.ring.banks, 2)),
                "mask": data.ArrayLayout(1, self.schedule.p),
                "channel": range(max(self.ring.pixel_words, 2)), "partial": 1,
                "tile": weights, "row": weights, "column": weights, "number": range(max(tables.most_issues, 2)),
                "sums": data.StructLayout(tables.issue_fields),
            })),
        })  # fmt: skip

    def elaborate(self, platform) -> Module:
        raise NotImplementedError

    def _tiles(self, m, step, restart):
        """Counters of the output-channel tile, which goes on with `step` and begins anew with `restart`: its number, the
        place of its first lane word, its first ring word."""
        schedule = self.schedule
        tile = Signal(range(max(schedule.co_tiles, 2)))
        weight = Signal.like(self.at.tile)
        group_tile = Signal(range(max(schedule.co_tiles // schedule.node.groups, 2)))
        group_word = Signal.like(self.at.channel)
        with m.If(step):
            m.d.sync += [
                tile.eq(tile + 1), weight.eq(weight + self.tables.tile_step), group_tile.eq(group_tile + 1),
            ]  # fmt: skip
            with m.If(group_tile == schedule.co_tiles // schedule.node.groups - 1):
                m.d.sync += [group_tile.eq(0), group_word.eq(group_word + schedule.ci_tiles)]
        with m.If(restart):
            m.d.sync += [tile.eq(0), weight.eq(0), group_word.eq(0)]
        return tile, weight, group_word

    def _tap_last(self, m, number, tile, row, column):
        """Is `number` the last issue of a tap? The others are parts of the place of its lane words."""
        if self.tables.uniform:
            return number == self.tables.most_issues - 1
        m.submodules.counts = counts = Table([{"more": tap["more"]} for tap in self.tables.taps])
        m.d.comb += counts.index.eq(tile | row | column)
        return number == counts.row.more
