"""Row order: output row, co tile, block, vertical tap, horizontal tap, lane word; each block's sums are finished at once."""

from functools import cached_property

from amaranth import *
from amaranth.lib import data

from organza_hw.accumulators import Accumulators, Use
from organza_hw.orders.tables import Tables, Walk
from organza_hw.row_buffer import RingLayout
from organza_hw.table import Table


class RowTables(Tables):
    """Vertical taps of every output row, horizontal taps of every block. An output unit is a row."""

    def __init__(self, ring: RingLayout, *, pixel_beats: int):
        super().__init__(ring, pixel_beats=pixel_beats)
        self.issue_fields = {name: shape for name, shape in self.finished_fields.items() if name != "unit_end"}

    @cached_property
    def rows(self) -> list[dict]:
        """One entry a (row, vertical tap); one for a row without taps."""
        made = []
        node = self.schedule.node
        for y, (taps, need) in enumerate(zip(node.y.table, self.schedule.needs, strict=True)):
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
        for number, block in enumerate(self.schedule.blocks):
            final = number == len(self.schedule.blocks) - 1
            following = 0 if final else len(made) + max(len(block.taps), 1)
            for position, tap in enumerate(block.taps or [None]):
                made.append({
                    **self.column_reads(tap), "last": int(position == max(len(block.taps), 1) - 1),
                    "first": block.first * self.pixel_beats, "pixels": block.pixels,
                    "final": int(final), "next": following,
                })  # fmt: skip
        return made

    def create(self):
        return RowWalk(self)

    def accumulators(self, **options):
        return Accumulators(uses=[Use.of(self.schedule)], tile_layout=data.StructLayout(self.finished_fields), **options)


class RowPosition:
    """Where a walk through rows and columns of `RowTables`, or of several layers', is.

    row, column : the entries. number : lane words of the tap that are behind. first : it loads its sums. none : its tile has no tap. last,
    column_end : it is the last of its tile; of the last block.
    """

    def __init__(self, m, row_table: Table, column_table: Table, *, number):
        self.rows, self.columns = ([Signal.like(table.index, name=f"{side}_{name}") for name in ("at", "start")]
                                   for side, table in (("row", row_table), ("column", column_table)))  # fmt: skip
        self.row, self.column = row_table.row, column_table.row
        self.number, self.first = Signal(number, name="number"), Signal(init=1, name="first")
        self.none, self.last, self.column_end = (Signal(name=name) for name in ("none", "last", "column_end"))
        m.d.comb += [row_table.index.eq(self.rows[0]), column_table.index.eq(self.columns[0])]

    def begin(self, m, row, column):
        """In this cycle, before any issue: the tables' parts for a layer begin at these entries."""
        m.d.sync += [self.number.eq(0), *(at.eq(row) for at in self.rows), *(at.eq(column) for at in self.columns)]

    def go(self, m, fire, tap_last, row_end):
        """Advance with `fire`. tap_last : `number` is the last lane word of the tap. row_end : the issue is the last of an output row."""
        row, column = self.row, self.column
        (row_at, row_start), (column_at, column_start) = self.rows, self.columns
        m.d.comb += [
            self.none.eq(row.none | column.none),
            self.last.eq(self.none | (tap_last & column.last & row.last)),
            self.column_end.eq(self.last & column.final),
        ]  # fmt: skip
        with m.If(fire):
            m.d.sync += self.first.eq(self.last)
            with m.If(~self.last):
                m.d.sync += self.number.eq(self.number + 1)
                with m.If(tap_last):
                    m.d.sync += [self.number.eq(0), column_at.eq(column_at + 1)]
                    with m.If(column.last):
                        m.d.sync += [column_at.eq(column_start), row_at.eq(row_at + 1)]
            with m.Else():
                m.d.sync += [self.number.eq(0), column_at.eq(column.next), column_start.eq(column.next), row_at.eq(row_start)]
            with m.If(row_end):
                m.d.sync += [row_at.eq(row.next), row_start.eq(row.next)]


class RowWalk(Walk):
    """Walks through `RowTables`, no gap between taps, tiles, rows or images but what the epilogue asks for."""

    def __init__(self, tables: RowTables):
        self.row_table, self.column_table = Table(tables.rows), Table(tables.columns)
        row, column = self.row_table.row, self.column_table.row
        super().__init__(tables, slot=row.slot.shape(), address=column.address.shape(),
                         window=row.window.shape(), release=row.release.shape())  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        schedule, at, fire = self.schedule, self.at, self.fire
        m.submodules.rows, m.submodules.columns = self.row_table, self.column_table
        position = RowPosition(m, self.row_table, self.column_table, number=range(max(self.tables.most_issues, 2)))
        row, column, number, last = position.row, position.column, position.number, position.last
        constant, begin, end, tap_last = Signal.like(at.sums.constant), Signal(init=1), Signal(), Signal()
        tile, weight, group_word = self._tiles(m, fire & position.column_end, fire & end)
        m.d.comb += [
            tap_last.eq(self._tap_last(m, number, weight, row.weight, column.weight)),
            end.eq(position.column_end & (tile == schedule.co_tiles - 1)),
        ]
        position.go(m, fire, tap_last, end)
        if schedule.pause:
            # The lanes are emptied before the first issue of a tile.
            left = Signal(range(schedule.pause + 1), init=schedule.pause)
            m.d.comb += fire.eq(self.may & (left == 0))
            with m.If(fire & last):
                m.d.sync += left.eq(schedule.pause)
            with m.Elif(self.may & (left != 0)):
                m.d.sync += left.eq(left - 1)
        elif schedule.visit.waits:
            # Hold the last issue of a short tile until the epilogue has emptied the tile before it.
            elapsed = Signal(range(schedule.drain))
            m.d.comb += fire.eq(self.may & (~last | (elapsed == schedule.drain - 1)))
            with m.If(fire & last):
                m.d.sync += elapsed.eq(0)
            with m.Elif(self.may & (elapsed != schedule.drain - 1)):
                m.d.sync += elapsed.eq(elapsed + 1)
        else:
            m.d.comb += fire.eq(self.may)

        with m.If(fire):
            m.d.sync += begin.eq(end)
            with m.If(position.column_end):
                m.d.sync += constant.eq(constant + schedule.chunks)
            with m.If(end):
                m.d.sync += constant.eq(0)

        gathers = schedule.node.code.gathers
        m.d.comb += [
            at.begin.eq(begin), at.end.eq(end), at.final.eq(end & row.final),
            at.window.eq(row.window), at.release.eq(row.release), at.first.eq(position.first), at.last.eq(last),
            at.slot.eq(row.slot), at.address.eq(column.address), at.turn.eq(column.turn),
            at.mask.eq(Mux(row.none, 0, column.mask.as_value())),
            at.channel.eq(group_word if gathers else group_word + number), at.partial.eq(0 if gathers else tap_last),
            at.tile.eq(weight), at.row.eq(row.weight), at.column.eq(column.weight), at.number.eq(number),
            at.sums.constant.eq(constant),
            at.sums.pixel.eq(column.first), at.sums.pixels.eq(column.pixels),
        ]  # fmt: skip
        return m
