"""Weight order: co tile, phase, vertical tap, horizontal tap, lane word, then all pixels that use it; sums lie in memory."""

from collections.abc import Callable, Sequence
from functools import cached_property

from amaranth import *

from organza.blocks import BlockTap, Phase
from organza.schedule import Schedule
from organza.visits import WeightVisit
from organza_hw.accumulators import Use
from organza_hw.orders.tables import Tables, Walk
from organza_hw.partial_sums import READ_LATENCY, Drain, PartialSums
from organza_hw.row_buffer import RingLayout
from organza_hw.table import Table


def pass_entries(phases: Sequence[Phase], reads: Callable[[int, BlockTap | None], dict], start: int = 0) -> list[dict]:
    """One entry a (phase, tap, block that has it), one for a phase without taps; `reads` of (number, tap) gives the rest.

    start : place of the first one in its table.
    """
    made: list[dict] = []
    for index, phase in enumerate(phases):
        groups = list(phase.taps.values()) or [[(0, None)]]
        final = index == len(phases) - 1
        following = start if final else start + len(made) + sum(map(len, groups))
        for count, group in enumerate(groups):
            for position, (number, tap) in enumerate(group):
                made.append({
                    **reads(number, tap), "none": int(tap is None),
                    "first": int(tap is None or phase.blocks[number].taps[0].k == tap.k),  # of the block
                    "last": int(position == len(group) - 1),  # of the tap
                    "tap_last": int(count == len(groups) - 1), "final": int(final), "next": following,
                })  # fmt: skip
    return made


def drain_entries(phases: Sequence[Phase], pitch: int, words: Callable[[int], int], start: int = 0) -> list[dict]:
    """One entry a block, phase by phase, for the epilogue: its place among the sums, `pitch` apart, and in the output, `words` of its
    first position. start : as of `pass_entries`."""
    made: list[dict] = []
    for index, phase in enumerate(phases):
        final = index == len(phases) - 1
        following = start if final else start + len(made) + len(phase.blocks)
        for number, block in enumerate(phase.blocks):
            made.append({
                "place": number * pitch, "pixel": words(block.first), "pixels": block.pixels,
                "none": int(not block.taps), "last": int(number == len(phase.blocks) - 1), "final": int(final),
                "next": following,
            })  # fmt: skip
    return made


def drain_cycles(schedule: Schedule) -> list[int]:
    """Cycles - 1 in which the epilogue empties every (phase of rows, of columns)."""
    assert isinstance(schedule.visit, WeightVisit)
    return [int(cycles) - 1 for cycles in schedule.visit.drains[0].reshape(-1)]


def repeats_of(schedule: Schedule) -> range:
    """Cycles, up to `READ_LATENCY`, before an issue that can have one for the same sums, which it adds to."""
    visit, words, reach = schedule.visit, schedule.tap_issues.max(0), READ_LATENCY
    assert isinstance(visit, WeightVisit)
    least = reach + 1
    for rows in visit.rows:
        for columns in visit.columns:
            places: list = []
            for ky, with_row in rows.taps.items():
                for kx, with_column in columns.taps.items():
                    one = [(row, column) for row, _ in with_row for column, _ in with_column]
                    if len(one) > 2 * reach:  # its ends, as far from each other as need be
                        one = [*one[:reach], *range(reach), *one[-reach:]]
                    places += one * min(words[ky, kx], reach + 1)
            for far in range(1, least):
                pairs = zip(places, places[far:], strict=False)
                if any(before == after and isinstance(after, tuple) for before, after in pairs):
                    least = far
                    break
    return range(least, reach + 1)


class WeightTables(Tables):
    """By phase: the rows that have each vertical tap, the blocks that have each horizontal tap. An output unit is an image."""

    def __init__(self, ring: RingLayout, *, pixel_beats: int):
        super().__init__(ring, pixel_beats=pixel_beats)
        visit = self.schedule.visit
        assert isinstance(visit, WeightVisit)
        self.visit = visit
        self.issue_fields = {"place": range(max(visit.places, 2))}

    @cached_property
    def repeats(self) -> range:
        """As of `repeats_of`."""
        return repeats_of(self.schedule)

    @cached_property
    def rows(self) -> list[dict]:
        """Entries of the phases of rows."""
        return pass_entries(self.visit.rows, lambda number, tap: {
            "slot": 0 if tap is None else tap.position % self.ring.depth, "place": number * self.visit.pitch,
            "weight": 0 if tap is None else tap.k * self.row_step,
        })  # fmt: skip

    @cached_property
    def columns(self) -> list[dict]:
        """Entries of the phases of columns."""
        return pass_entries(self.visit.columns, lambda number, tap: {**self.column_reads(tap), "place": number})

    @cached_property
    def drain(self) -> Drain:
        """How the epilogue empties the sums: places are those of the output image."""
        row_words = self.schedule.node.x.output * self.pixel_beats
        return Drain(
            rows=drain_entries(self.visit.rows, self.visit.pitch, lambda y: y * row_words),
            columns=drain_entries(self.visit.columns, 1, lambda x: x * self.pixel_beats),
            starts=[(0, 0)], co_tiles=[self.schedule.co_tiles],
            tile=self.finished_fields,
            finish=lambda at, row, column: {"unit_end": at.end, "constant": at.constant, "pixel": row.pixel + column.pixel, "pixels": column.pixels},
        )  # fmt: skip

    @cached_property
    def drains(self) -> list[dict]:
        """As of `drain_cycles`."""
        return [{"more": cycles} for cycles in drain_cycles(self.schedule)]

    def create(self):
        return WeightWalk(self)

    def accumulators(self, **options):
        return PartialSums(
            uses=[Use.of(self.schedule)], drain=self.drain, places=self.visit.places, repeats=self.repeats, **options,
        )  # fmt: skip


class Position:
    """Where a walk through `pass_entries` of rows and columns is.

    row, column : the entries. number : lane words of the tap that are behind. word : the issue is the first with its lane word. first : it
    loads its sums. none : its tile has no tap. last, phases_end : it is the last of its tile; of the last phases.
    """

    def __init__(self, m, row_table: Table, column_table: Table, *, number: range):
        self.rows, self.columns = ([Signal.like(table.index, name=f"{side}_{name}") for name in ("at", "tap", "phase")]
                                   for side, table in (("row", row_table), ("column", column_table)))  # fmt: skip
        self.row, self.column = row_table.row, column_table.row
        self.number, self.word = Signal(number, name="number"), Signal(init=1, name="word")
        self.none, self.last, self.phases_end, self.first = (Signal(name=name) for name in ("none", "last", "phases_end", "first"))
        m.d.comb += [row_table.index.eq(self.rows[0]), column_table.index.eq(self.columns[0])]

    def begin(self, m, row, column):
        """In this cycle, before any issue: the tables' parts for a layer begin at these entries."""
        m.d.sync += [self.number.eq(0), *(at.eq(row) for at in self.rows), *(at.eq(column) for at in self.columns)]

    def go(self, m, fire, word_last):
        """Advance with `fire`. word_last : `number` is the last lane word of the tap."""
        row, column = self.row, self.column
        row_at, row_tap, row_phase = self.rows
        column_at, column_tap, column_phase = self.columns
        word_end = Signal()
        m.d.comb += [
            self.none.eq(row.none | column.none),
            word_end.eq(column.last & row.last),
            self.last.eq(self.none | (word_end & word_last & column.tap_last & row.tap_last)),
            self.phases_end.eq(self.last & column.final & row.final),
            self.first.eq(self.none | (row.first & column.first & (self.number == 0))),
        ]  # fmt: skip
        with m.If(fire):
            m.d.sync += self.word.eq(word_end | self.last)
            with m.If(self.last):
                following = Mux(column.final, row.next, row_phase)
                m.d.sync += [
                    self.number.eq(0),
                    column_at.eq(column.next), column_tap.eq(column.next), column_phase.eq(column.next),
                    row_at.eq(following), row_tap.eq(following), row_phase.eq(following),
                ]  # fmt: skip
            with m.Elif(~column.last):
                m.d.sync += column_at.eq(column_at + 1)
            with m.Elif(~row.last):
                m.d.sync += [column_at.eq(column_tap), row_at.eq(row_at + 1)]
            with m.Elif(~word_last):
                m.d.sync += [column_at.eq(column_tap), row_at.eq(row_tap), self.number.eq(self.number + 1)]
            with m.Elif(~column.tap_last):
                m.d.sync += [column_at.eq(column_at + 1), column_tap.eq(column_at + 1), row_at.eq(row_tap), self.number.eq(0)]
            with m.Else():
                m.d.sync += [
                    column_at.eq(column_phase), column_tap.eq(column_phase),
                    row_at.eq(row_at + 1), row_tap.eq(row_at + 1), self.number.eq(0),
                ]  # fmt: skip


class WeightWalk(Walk):
    """Walks through `WeightTables`, no gap but what the epilogue asks for.

    `at.word` says that the issue is the first one with its lane word.
    """

    def __init__(self, tables: WeightTables):
        self.row_table, self.column_table = Table(tables.rows), Table(tables.columns)
        self.drains = tables.drains
        row, column = self.row_table.row, self.column_table.row
        need = tables.schedule.needs[0]
        super().__init__(tables, slot=row.slot.shape(), address=column.address.shape(),
                         window=range(need.window + 1), release=range(need.release + 1))  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        schedule, at, fire = self.schedule, self.at, self.fire
        m.submodules.rows, m.submodules.columns = self.row_table, self.column_table
        position = Position(m, self.row_table, self.column_table, number=range(max(self.tables.most_issues, 2)))
        row, column, number = position.row, position.column, position.number
        begin, end, word_last = Signal(init=1), Signal(), Signal()
        tile, weight, group_word = self._tiles(m, fire & position.phases_end, fire & end)
        m.d.comb += [
            word_last.eq(self._tap_last(m, number, weight, row.weight, column.weight)),
            end.eq(position.phases_end & (tile == schedule.co_tiles - 1)),
        ]  # fmt: skip
        position.go(m, fire, word_last)
        self._hold(m, position.last, position.phases_end)
        with m.If(fire):
            m.d.sync += begin.eq(end)

        gathers = schedule.node.code.gathers
        need = schedule.needs[0]
        m.d.comb += [
            at.begin.eq(begin), at.end.eq(end), at.final.eq(end), at.window.eq(need.window), at.release.eq(need.release),
            at.first.eq(position.first), at.last.eq(position.last), at.word.eq(position.word & ~position.none),
            at.slot.eq(row.slot), at.address.eq(column.address), at.turn.eq(column.turn),
            at.mask.eq(Mux(row.none, 0, column.mask.as_value())),
            at.channel.eq(group_word if gathers else group_word + number), at.partial.eq(0 if gathers else word_last),
            at.tile.eq(weight), at.row.eq(row.weight), at.column.eq(column.weight), at.number.eq(number),
            at.sums.place.eq(row.place + column.place),
        ]  # fmt: skip
        return m

    def _hold(self, m, last, phases_end):
        """Hold the last issue of a short tile until the epilogue has emptied the tile before it."""
        if not self.schedule.visit.waits:
            m.d.comb += self.fire.eq(self.may)
            return
        m.submodules.drains = drains = Table(self.drains)
        left = Signal.like(drains.row.more)
        m.d.comb += self.fire.eq(self.may & (~last | (left == 0)))
        with m.If(self.fire & last):
            m.d.sync += [left.eq(drains.row.more), drains.index.eq(Mux(phases_end, 0, drains.index + 1))]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
