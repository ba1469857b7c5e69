"""Weight order: co tile, phase, vertical tap, horizontal tap, lane word, then all pixels that use it; sums lie in memory."""

from functools import cached_property

from amaranth import *

from organza.visits import WeightVisit
from organza_hw.orders.tables import Tables, Walk
from organza_hw.partial_sums import PartialSums
from organza_hw.row_buffer import RingLayout
from organza_hw.table import Table


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
        """Cycles, up to `PartialSums.READ_LATENCY`, before an issue that can have one for the same sums, which it adds to."""
        words, reach = self.schedule.tap_issues.max(0), PartialSums.READ_LATENCY
        least = reach + 1
        for rows in self.visit.rows:
            for columns in self.visit.columns:
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

    def _entries(self, phases, reads):
        """One entry a (phase, tap, block that has it), one for a phase without taps; `reads` of (number, tap) gives the rest."""
        made: list[dict] = []
        for index, phase in enumerate(phases):
            groups = list(phase.taps.values()) or [[(0, None)]]
            final = index == len(phases) - 1
            following = 0 if final else len(made) + sum(map(len, groups))
            for count, group in enumerate(groups):
                for position, (number, tap) in enumerate(group):
                    made.append({
                        **reads(number, tap), "none": int(tap is None),
                        "first": int(tap is None or phase.blocks[number].taps[0].k == tap.k),  # of the block
                        "last": int(position == len(group) - 1),  # of the tap
                        "tap_last": int(count == len(groups) - 1), "final": int(final), "next": following,
                    })  # fmt: skip
        return made

    @cached_property
    def rows(self) -> list[dict]:
        """Entries of the phases of rows."""
        return self._entries(self.visit.rows, lambda number, tap: {
            "slot": 0 if tap is None else tap.position % self.ring.depth, "place": number * self.visit.pitch,
            "weight": 0 if tap is None else tap.k * self.row_step,
        })  # fmt: skip

    @cached_property
    def columns(self) -> list[dict]:
        """Entries of the phases of columns."""
        return self._entries(self.visit.columns, lambda number, tap: {**self.column_reads(tap), "place": number})

    @cached_property
    def drain_rows(self) -> list[dict]:
        """One entry a row, phase by phase, for the epilogue: its place among the sums and in the output image."""
        row_words = self.schedule.node.x.output * self.pixel_beats
        return self._drained(self.visit.rows, self.visit.pitch, row_words)

    @cached_property
    def drain_columns(self) -> list[dict]:
        """One entry a block, phase by phase, as of `drain_rows`."""
        return self._drained(self.visit.columns, 1, self.pixel_beats)

    @staticmethod
    def _drained(phases, pitch, words):
        made: list[dict] = []
        for index, phase in enumerate(phases):
            final = index == len(phases) - 1
            following = 0 if final else len(made) + len(phase.blocks)
            for number, block in enumerate(phase.blocks):
                made.append({
                    "place": number * pitch, "pixel": block.first * words, "pixels": block.pixels,
                    "none": int(not block.taps), "last": int(number == len(phase.blocks) - 1), "final": int(final),
                    "next": following,
                })  # fmt: skip
        return made

    @cached_property
    def drains(self) -> list[dict]:
        """Cycles - 1 in which the epilogue empties every (phase of rows, of columns)."""
        return [{"more": int(cycles) - 1} for cycles in self.visit.drains[0].reshape(-1)]

    def create(self):
        return WeightWalk(self)

    def accumulators(self, **options):
        return PartialSums(self, **options)


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
        m.submodules.rows, m.submodules.columns = row_table, column_table = self.row_table, self.column_table
        row, column = row_table.row, column_table.row

        # Position in the loops; `*_tap` is where the entries of the tap began, `*_phase` those of the phase.
        row_at, row_tap, row_phase = (Signal.like(row_table.index, name=f"row_{name}") for name in ("at", "tap", "phase"))
        column_at, column_tap, column_phase = (
            Signal.like(column_table.index, name=f"column_{name}") for name in ("at", "tap", "phase")
        )
        number = Signal.like(at.number)
        begin, word = Signal(init=1), Signal(init=1)
        none, word_end, last, phases_end, end = Signal(), Signal(), Signal(), Signal(), Signal()
        word_last = Signal()
        tile, weight, group_word = self._tiles(m, fire & phases_end, fire & end)
        m.d.comb += [
            row_table.index.eq(row_at), column_table.index.eq(column_at),
            none.eq(row.none | column.none),
            word_last.eq(self._tap_last(m, number, weight, row.weight, column.weight)),
            word_end.eq(column.last & row.last),
            last.eq(none | (word_end & word_last & column.tap_last & row.tap_last)),
            phases_end.eq(last & column.final & row.final),
            end.eq(phases_end & (tile == schedule.co_tiles - 1)),
        ]  # fmt: skip
        self._hold(m, last, phases_end)

        with m.If(fire):
            m.d.sync += [begin.eq(end), word.eq(word_end | last)]
            with m.If(last):
                following = Mux(column.final, row.next, row_phase)
                m.d.sync += [
                    number.eq(0),
                    column_at.eq(column.next), column_tap.eq(column.next), column_phase.eq(column.next),
                    row_at.eq(following), row_tap.eq(following), row_phase.eq(following),
                ]  # fmt: skip
            with m.Elif(~column.last):
                m.d.sync += column_at.eq(column_at + 1)
            with m.Elif(~row.last):
                m.d.sync += [column_at.eq(column_tap), row_at.eq(row_at + 1)]
            with m.Elif(~word_last):
                m.d.sync += [column_at.eq(column_tap), row_at.eq(row_tap), number.eq(number + 1)]
            with m.Elif(~column.tap_last):
                m.d.sync += [column_at.eq(column_at + 1), column_tap.eq(column_at + 1), row_at.eq(row_tap), number.eq(0)]
            with m.Else():
                m.d.sync += [
                    column_at.eq(column_phase), column_tap.eq(column_phase),
                    row_at.eq(row_at + 1), row_tap.eq(row_at + 1), number.eq(0),
                ]  # fmt: skip

        gathers = schedule.node.code.gathers
        need = schedule.needs[0]
        m.d.comb += [
            at.begin.eq(begin), at.end.eq(end), at.final.eq(end), at.window.eq(need.window), at.release.eq(need.release),
            at.first.eq(none | (row.first & column.first & (number == 0))), at.last.eq(last), at.word.eq(word & ~none),
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
