"""Time-shared layers in weight order: tables, issues, and sums of whole phases in memory."""

from amaranth import *

from organza.schedule import Schedule
from organza.visits import WeightVisit
from organza_hw.accumulators import Use
from organza_hw.orders.weight import Position, drain_cycles, drain_entries, pass_entries, repeats_of
from organza_hw.partial_sums import READ_LATENCY, Drain, PartialSums
from organza_hw.shared.sequencer import At, SharedSequencer
from organza_hw.shared.tables import Finished, SharedTables
from organza_hw.table import Table


class SharedWeightTables(SharedTables):
    """By phase of every layer: the rows that have each vertical tap, the blocks that have each horizontal tap. An output unit is an image.

    Attributes
    ----------
    drains : cycles - 1 in which the epilogue empties every (phase of rows, of columns), layer by layer; `next` of a layer's last one is
    its first, where the next co tile begins.
    """

    first_drain = 0

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        layers = self.shared.layers
        self.sum_places = self.shared.sum_places
        self.unit = Signal(range(max(self.shared.rows * self.unit_words, 2)))  # first word of the output unit that is written
        self.issue_fields = {"place": range(max(self.sum_places, 2)), "word": 1}
        self.drains: list[dict] = []
        for schedule in layers:
            start, cycles = len(self.drains), drain_cycles(schedule)
            self.drains += [{"more": more, "next": start + (k + 1) % len(cycles)} for k, more in enumerate(cycles)]
        self.most_drain = max(drain["more"] for drain in self.drains) + 1

    def _rows(self, number: int, schedule: Schedule, start: int) -> list[dict]:
        ring, visit, base = self.frames.rings[number], schedule.visit, self.frames.bases[number]
        assert isinstance(visit, WeightVisit)
        step = schedule.node.x.kernel * schedule.ci_tiles
        return pass_entries(visit.rows, lambda row, tap: {
            "address": base + (0 if tap is None else tap.position * ring.row_words), "place": row * visit.pitch,
            "weight": 0 if tap is None else tap.k * step,
        }, start)  # fmt: skip

    def _columns(self, number: int, schedule: Schedule, start: int, place: int) -> list[dict]:
        visit = schedule.visit
        assert isinstance(visit, WeightVisit)
        return pass_entries(visit.columns, lambda block, tap: {**self._column_reads(number, schedule, tap), "place": block}, start)

    def create(self, **options):
        return SharedWeightSequencer(self, **options)

    def _drain(self) -> Drain:
        """What leaves when, and where it goes."""
        layers = self.shared.layers
        rows: list[dict] = []
        columns: list[dict] = []
        starts, place = [], 0
        row_words = layers[-1].node.x.output * self.pixel_beats
        for visit, (base, step) in zip(self.shared.weight_visits, [*self.output_rows[:-1], (0, row_words)], strict=True):
            starts.append((len(rows), len(columns)))
            rows += drain_entries(visit.rows, visit.pitch, lambda y, base=base, step=step: base + y * step, len(rows))
            columns += drain_entries(visit.columns, 1, lambda x, place=place: place + x, len(columns))
            place += visit.schedule.node.x.output

        def finish(at, row, column):
            start = Mux(at.layer == len(layers) - 1, self.unit, 0)
            return {
                "end": at.end, "layer": at.layer, "constant": at.constant, "row": row.pixel + start, "place": column.pixel,
                "pixels": column.pixels,
            }  # fmt: skip

        words = max(self.frames.bank_words, self.shared.rows * self.unit_words, 2)
        constants = sum(schedule.co_tiles * schedule.chunks for schedule in layers)
        tile = {
            "end": 1, "layer": self.layers, "constant": range(max(constants, 2)), "row": range(words),
            "place": range(max(len(self.places), 2)), "pixels": range(self.shared.p + 1),
        }  # fmt: skip
        return Drain(rows, columns, starts, [schedule.co_tiles for schedule in layers], tile, finish)

    def accumulators(self, **options):
        least = min(repeats_of(schedule).start for schedule in self.shared.layers)
        return PartialSums(
            uses=Use.of_shared(self.shared), drain=self._drain(), places=self.sum_places, repeats=range(least, READ_LATENCY + 1), **options,
        )  # fmt: skip

    def finish(self, m, accumulators, sequencer, issue, *, stages):
        tile, done = accumulators.o_tile, Signal()
        m.d.comb += [accumulators.tile.place.eq(issue.place), done.eq(accumulators.o_valid & accumulators.o_last & tile.end)]
        # Long before the last layer's next output leaves.
        with m.If(done & (tile.layer == len(self.shared.layers) - 1)):
            m.d.sync += self.unit.eq(Mux(self.unit == (self.shared.rows - 1) * self.unit_words, 0, self.unit + self.unit_words))
        return Finished(layer=tile.layer, constant=tile.constant, row=tile.row, place=tile.place, pixels=tile.pixels, done=done)


class SharedWeightSequencer(SharedSequencer):
    """Issues in weight order: co tile, phase, vertical tap, horizontal tap, lane word, row, block."""

    empties = True

    tables: SharedWeightTables

    def walk(self, m, layer, fire, begin, restart):
        tables = self.tables
        m.submodules.rows, m.submodules.columns = row_table, column_table = Table(tables.rows), Table(tables.columns)
        m.submodules.drains = drains = Table(tables.drains)
        position = Position(m, row_table, column_table, number=range(max(tables.most_channels, 2)))
        tile, weight = Signal(range(max(tables.most_tiles, 2))), Signal.like(self.weight_addr)
        end = Signal()
        m.d.comb += end.eq(position.phases_end & (tile == layer.tiles))
        position.go(m, fire, position.number == layer.channels)
        with m.If(fire & position.phases_end):
            m.d.sync += [tile.eq(tile + 1), weight.eq(weight + layer.tile_step)]
        with m.If(fire & position.last):
            m.d.sync += drains.index.eq(Mux(end, Mux(layer.final, 0, drains.index + 1), drains.row.next))
        with m.If(restart):
            position.begin(m, layer.rows, layer.columns)
            m.d.sync += [tile.eq(0), weight.eq(layer.weights)]
        row, column = position.row, position.column
        return At(
            row=row, column=column, none=position.none, number=position.number, weight=weight, begin=begin, first=position.first,
            last=position.last, end=end, drain=drains.row.more,
            sums={"place": row.place + column.place, "word": position.word & ~position.none},
        )  # fmt: skip
