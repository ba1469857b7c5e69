"""Time-shared layers in row order: tables, issues, and sums that are finished block by block."""

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import Out

from organza.schedule import Schedule
from organza_hw.accumulators import Accumulators, Use
from organza_hw.choice import by_layer
from organza_hw.orders.row import RowPosition
from organza_hw.shared.sequencer import At, SharedSequencer
from organza_hw.shared.side_queue import SideQueue
from organza_hw.shared.tables import Finished, SharedTables
from organza_hw.table import Table

TILE_LEAD = 2  # cycles before an issue in which the sequencer says what is to know of its tile


class SharedRowTables(SharedTables):
    """Vertical taps of every row, horizontal taps of every block. An output unit is a row.

    Attributes
    ----------
    tile_fields : amaranth shapes of what an issue says of its tile.
    """

    issue_fields = {}

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.most_drain, self.first_drain = max(schedule.drain for schedule in self.shared.layers), self.descriptors[-1]["drain"]
        self.tile_fields = {
            "column_end": 1,  # last of the row with these channels
            "row_end": 1,
            "end": 1,  # of the layer
            "place": range(max(len(self.places), 2)),  # of the first pixel
            "pixels": range(self.shared.p + 1),
        }

    def _descriptor(self, schedule):
        return {"drain": schedule.drain - 1}

    def _rows(self, number: int, schedule: Schedule, start: int) -> list[dict]:
        """One entry a (row, vertical tap); one for a row without taps."""
        ring, node, made = self.frames.rings[number], schedule.node, []
        for y, taps in enumerate(node.y.table):
            following = start + len(made) + max(len(taps), 1)
            for position, (k, row) in enumerate(taps or [(0, 0)]):
                made.append({
                    "address": self.frames.bases[number] + row * ring.row_words,
                    "weight": k * node.x.kernel * schedule.ci_tiles, "none": int(not taps),
                    "last": int(position == max(len(taps), 1) - 1), "final": int(y == node.y.output - 1),
                    "next": following if y < node.y.output - 1 else start,
                })  # fmt: skip
        return made

    def _columns(self, number: int, schedule: Schedule, start: int, place: int) -> list[dict]:
        """One entry a (block, horizontal tap); one for a block without taps."""
        made = []
        for block_number, block in enumerate(schedule.blocks):
            final = block_number == len(schedule.blocks) - 1
            for position, tap in enumerate(block.taps or [None]):
                made.append({
                    **self._column_reads(number, schedule, tap), "last": int(position == max(len(block.taps), 1) - 1),
                    "place": place + block.first, "pixels": block.pixels, "final": int(final),
                    "next": start if final else start + len(made) - position + max(len(block.taps), 1),
                })  # fmt: skip
        return made

    def create(self, **options):
        return SharedRowSequencer(self, **options)

    def accumulators(self, **options):
        return Accumulators(uses=Use.of_shared(self.shared), tile_layout=data.StructLayout({"layer": self.layers}), **options)

    def finish(self, m, accumulators, sequencer, issue, *, stages):
        shared, layers = self.shared, self.shared.layers
        # There may be a tile in every stage, and one at the accumulators' door.
        m.submodules.tiles = tiles = SideQueue(data.StructLayout(self.tile_fields), words=TILE_LEAD + stages + 2)
        m.d.comb += [
            tiles.write.eq(sequencer.tile_last), tiles.i.eq(sequencer.tile), tiles.read.eq(accumulators.o_load),
            accumulators.tile.layer.eq(issue.layer),
        ]  # fmt: skip

        # Tiles come in the order of rows, channels, columns, and say where one of these ends.
        tile, number = tiles.o, accumulators.o_tile.layer
        constants, inner_rows = self.constants, self.output_rows
        constant = Signal(range(max(sum(schedule.co_tiles * schedule.chunks for schedule in layers), 2)))  # first of the tile
        inner = Signal(range(max(self.frames.bank_words, 2)), init=inner_rows[0][0])  # first word of the output row in the frames
        start = Signal(range(max(shared.rows * self.unit_words, 2)))  # of the output row
        final, leaves, done = Signal(), Signal(), Signal()

        def following(values):
            return by_layer(number, [*values[1:], values[0]])

        m.d.comb += [
            final.eq(number == len(layers) - 1),
            leaves.eq(accumulators.o_valid & accumulators.o_last), done.eq(leaves & Mux(final, tile.row_end, tile.end)),
        ]  # fmt: skip
        with m.If(done & final):
            m.d.sync += start.eq(Mux(start == (shared.rows - 1) * self.unit_words, 0, start + self.unit_words))
        with m.If(leaves):
            with m.If(tile.column_end):
                m.d.sync += constant.eq(constant + by_layer(number, [schedule.chunks for schedule in layers]))
            with m.If(tile.row_end):
                m.d.sync += [
                    constant.eq(by_layer(number, constants)), inner.eq(inner + by_layer(number, [step for _, step in inner_rows])),
                ]  # fmt: skip
            with m.If(tile.end):
                m.d.sync += [constant.eq(following(constants)), inner.eq(following([base for base, _ in inner_rows]))]
        return Finished(
            layer=number, constant=constant, row=Mux(final, start, inner), place=tile.place, pixels=tile.pixels, done=done,
        )  # fmt: skip


class SharedRowSequencer(SharedSequencer):
    """Issues in row order: output row, co tile, block, vertical tap, horizontal tap, lane word.

    Members
    -------
    Those of `SharedSequencer`, and
    tile_last, tile : Out, `TILE_LEAD` cycles before an issue: whether it is the last of its tile, and what is to know of the tile then.
    """

    empties = False

    tile_last: Signal
    tile: data.View

    def __init__(self, tables: SharedRowTables, **options):
        members = {"tile_last": Out(1), "tile": Out(data.StructLayout(tables.tile_fields))}
        super().__init__(tables, members=members, **options)

    def walk(self, m, layer, fire, begin, restart):
        tables = self.tables
        m.submodules.rows, m.submodules.columns = row_table, column_table = Table(tables.rows), Table(tables.columns)
        position = RowPosition(m, row_table, column_table, number=range(max(tables.most_channels, 2)))
        row, column, last, column_end = position.row, position.column, position.last, position.column_end
        tile, weight = Signal(range(max(tables.most_tiles, 2))), Signal.like(self.weight_addr)
        begin_row, row_end, end = Signal(init=1), Signal(), Signal()
        m.d.comb += [row_end.eq(column_end & (tile == layer.tiles)), end.eq(row_end & row.final)]
        position.go(m, fire, position.number == layer.channels, row_end)
        with m.If(restart):
            position.begin(m, layer.rows, layer.columns)
            m.d.sync += [weight.eq(layer.weights), tile.eq(0)]
        with m.If(fire):
            m.d.sync += begin_row.eq(row_end)
            with m.If(column_end):
                m.d.sync += [weight.eq(weight + layer.tile_step), tile.eq(tile + 1)]
            with m.If(row_end):
                m.d.sync += [weight.eq(layer.weights), tile.eq(0)]
        m.d.sync += [
            self.tile_last.eq(fire & last), self.tile.column_end.eq(column_end), self.tile.row_end.eq(row_end), self.tile.end.eq(end),
            self.tile.place.eq(column.place), self.tile.pixels.eq(column.pixels),
        ]  # fmt: skip
        return At(
            row=row, column=column, none=position.none, number=position.number, weight=weight, begin=begin_row, first=position.first,
            last=last, end=end, drain=layer.drain, sums={},
        )  # fmt: skip
