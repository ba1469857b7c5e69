"""Sums of a whole phase in memory, and the walk in which the epilogue empties them while the lanes fill the next ones."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.accumulators import Use
from organza_hw.block_ram import block_ram
from organza_hw.choice import by_layer, chosen
from organza_hw.lanes.carry import accumulate
from organza_hw.lanes.dot import register
from organza_hw.table import Table

READ_LATENCY = 3  # from an issue to what the memory holds of its sums


class DrainStep(NamedTuple):
    """Of a block that leaves: number of its layer, first word of constants, and whether it is the last one of its layer."""

    layer: Value
    constant: Value
    end: Value


class Drain(NamedTuple):
    """How the epilogue empties tiles, layer by layer.

    rows, columns : `organza_hw.orders.weight.drain_entries` of all layers. starts, co_tiles : by layer its first entries of both, and its
    co tiles. tile : fields of what the epilogue must know of a block; finish : makes them of the step, and the entries of row and column.
    """

    rows: list[dict]
    columns: list[dict]
    starts: list[tuple[int, int]]
    co_tiles: list[int]
    tile: dict[str, Any]
    finish: Callable[[DrainStep, Any, Any], dict[str, Any]]


class PartialSums(wiring.Component):
    """Sums of all lanes for every block of a phase, in two halves: lanes add to one, the other leaves, E sums a cycle.

    A tile (co tile, phase) is emptied row by row, block by block, pixel by pixel, with zeros for what has no tap.

    What the memory holds is in a register of each half, then in one register for both, and then added to; so the sums that an issue adds to
    can be those of one of the three issues before, which have not been read.

    Latency: the first E sums of a tile are at `o_sums` `LATENCY` + 1 cycles after its last issue, the next ones follow without
    a gap. No back-pressure: the schedule guarantees that the last issue of a tile is at least as many cycles after that of
    the tile before as this one has steps, and that the first issues of a tile load.

    Parameters
    ----------
    bits : signed width of a sum. uses : of a layer, or of several that take turns, layer after layer, image after image. drain : how
    tiles leave. places : of blocks in a half. repeats : see `organza_hw.orders.weight.repeats_of`.

    Members
    -------
    valid, first, last : In, of the issue whose sums are at `sums`; load, and the tile is complete.
    sums : In, by lane, as many as all uses have. tile : In, their place in the half.
    o_valid : Out(1). o_sums : Out, E sums. o_chunk, o_pixel : Out, which channels and pixel of the block they belong to.
    o_last : Out(1), final step of the block. o_tile : Out, what the epilogue must know of the block.
    """

    LATENCY = 6

    valid: Signal
    first: Signal
    last: Signal
    sums: data.View
    tile: data.View
    o_valid: Signal
    o_sums: data.View
    o_chunk: Signal
    o_pixel: Signal
    o_last: Signal
    o_tile: data.View

    def __init__(self, *, bits, uses: Sequence[Use], drain: Drain, places: int, repeats: range, instances=False):
        self.bits, self.uses, self.drain, self.places, self.repeats, self.instances = bits, uses, drain, places, repeats, instances
        self.lanes = max(use.lane(use.p - 1, use.to - 1) + 1 for use in uses)
        self.e = max(use.e for use in uses)
        super().__init__({
            "valid": In(1), "first": In(1), "last": In(1),
            "sums": In(data.ArrayLayout(signed(bits), self.lanes)),
            "tile": In(data.StructLayout({"place": range(max(places, 2))})),
            "o_valid": Out(1),
            "o_sums": Out(data.ArrayLayout(signed(bits), self.e)),
            "o_chunk": Out(range(max(*(use.chunks for use in uses), 2))),
            "o_pixel": Out(range(max(*(use.p for use in uses), 2))),
            "o_last": Out(1),
            "o_tile": Out(data.StructLayout(drain.tile)),
        })  # fmt: skip

    @staticmethod
    def latency(drain):
        """Cycles from the last issue of a tile to its last E sums; `drain` steps empty it."""
        return PartialSums.LATENCY + drain

    def elaborate(self, platform):
        m = Module()
        half, late = Signal(), READ_LATENCY  # which half the lanes fill
        ends = self.valid & self.last
        m.d.sync += half.eq(half ^ ends)
        # An issue when its sums so far are there.
        adds, loads = register(m, self.valid, stages=late), register(m, self.first, stages=late)
        values, place = register(m, self.sums, stages=late), register(m, self.tile.place, stages=late)
        halves = [half]
        for _ in range(late):
            halves.append(register(m, halves[-1]))
        step = self._walk(m, register(m, ends, stages=late), halves[-1])

        totals = Signal.like(values)
        read = []
        for number in range(2):
            ram = block_ram(len(totals.as_value()), self.places)
            m.submodules[f"half{number}"] = ram
            write, port = ram.write_port(), ram.read_port()
            m.d.comb += [
                port.addr.eq(Mux(step.running & (step.half == number), step.place, self.tile.place)),
                write.addr.eq(place), write.data.eq(totals.as_value()), write.en.eq(adds & (halves[-1] == number)),
            ]  # fmt: skip
            read.append(register(m, port.data, reset=False))
        self._add(m, loads, values, Mux(halves[-2], *reversed(read)), totals)

        # What leaves: chosen from the words of a block, or zero.
        index, none, side, layer = (register(m, value, stages=2) for value in (step.index, step.none, step.half, step.layer))
        for name in ("chunk", "pixel", "last", "tile"):
            m.d.comb += Value.cast(getattr(self, f"o_{name}")).eq(Value.cast(register(m, step[name], stages=3)))
        m.d.comb += self.o_valid.eq(register(m, step.running, stages=3))
        word = Signal.like(totals)
        m.d.comb += word.as_value().eq(Mux(side, *reversed(read)))
        steps = self._sources([word[lane] for lane in range(self.lanes)])
        leaving = [{unit: chosen(m, layer, values) for unit, values in units.items()} for units in steps]
        with m.Switch(index):
            for number, units in enumerate(leaving):
                with m.Case(number):
                    m.d.sync += [self.o_sums[unit].eq(Mux(none, 0, value)) for unit, value in units.items()]
        return m

    def _add(self, m, loads, values, held, totals):
        """`totals` of what the memory holds and the new values; `held` comes a cycle before them."""
        # Of the sums that an issue adds to: those made so many issues before, in this and the last cycle.
        made = register(m, totals)
        for distance in reversed(self.repeats):
            if distance == 1:
                break
            held = Mux(self._same(m, distance, READ_LATENCY - 1), register(m, made.as_value(), stages=distance - 2), held)
        before = Signal.like(totals)
        m.d.sync += before.as_value().eq(held)
        if 1 in self.repeats:
            held, before = before, Signal.like(totals)
            m.d.comb += before.eq(Mux(self._same(m, 1, READ_LATENCY), made.as_value(), held.as_value()))
        for lane in range(self.lanes):
            total = accumulate(m, before[lane], loads, values[lane], instances=self.instances)
            m.d.comb += totals[lane].eq(total)

    def _sources(self, sums: list) -> list[dict[int, dict[int, Any]]]:
        """By step of a block and unit: what leaves, by number of the layers."""
        made: list[dict[int, dict[int, Any]]] = [{} for _ in range(max(use.p * use.chunks for use in self.uses))]
        for number, use in enumerate(self.uses):
            for pixel in range(use.p):
                for channel in range(use.to):
                    chunk, unit = divmod(channel, use.e)
                    made[pixel * use.chunks + chunk].setdefault(unit, {})[number] = sums[use.lane(pixel, channel)]
        return made

    def _same(self, m, distance, stages):
        """Did the cycle so much before have an issue with the same place? `stages` cycles later."""
        valid = register(m, self.valid, stages=distance)
        place = register(m, self.tile.place, stages=distance)
        return register(m, valid & (place == self.tile.place), stages=stages)

    def _walk(self, m, begins, half):
        """The steps in which the epilogue empties a tile, from the cycle after `begins` on; `half` is the one to empty."""
        drain, uses = self.drain, self.uses
        m.submodules.drain_rows = row_table = Table(drain.rows)
        m.submodules.drain_columns = column_table = Table(drain.columns)
        row, column = row_table.row, column_table.row
        constants = [tiles * use.chunks for tiles, use in zip(drain.co_tiles, uses, strict=True)]  # of a layer
        step = Signal(data.StructLayout({
            "running": 1, "half": 1, "place": self.tile.place.shape(), "chunk": self.o_chunk.shape(),
            "pixel": self.o_pixel.shape(), "index": range(max(*(use.p * use.chunks for use in uses), 2)), "last": 1, "none": 1,
            "layer": range(max(len(uses), 2)), "tile": self.o_tile.shape(),
        }))  # fmt: skip
        running, emptied = Signal(), Signal()
        chunk, pixel, index = Signal.like(step.chunk), Signal.like(step.pixel), Signal.like(step.index)
        row_at, row_phase = (Signal.like(row_table.index, init=drain.starts[0][0]) for _ in range(2))
        column_at, column_phase = (Signal.like(column_table.index, init=drain.starts[0][1]) for _ in range(2))
        constant, layer = Signal(range(max(sum(constants), 2))), Signal.like(step.layer)
        chunk_last, block_last, tile_last, phases_last, end = (
            Signal(name=name) for name in ("chunk_last", "block_last", "tile_last", "phases_last", "end")
        )
        ends = [sum(constants[:number]) - use.chunks for number, use in enumerate(uses, 1)]  # first constant of a layer's last co tile
        m.d.comb += [
            row_table.index.eq(row_at), column_table.index.eq(column_at),
            chunk_last.eq(chunk == by_layer(layer, [use.chunks - 1 for use in uses])),
            block_last.eq(index == by_layer(layer, [use.p * use.chunks - 1 for use in uses])),
            tile_last.eq(block_last & column.last & row.last),
            phases_last.eq(tile_last & column.final & row.final),
            end.eq(phases_last & (constant == by_layer(layer, ends))),
            step.running.eq(running), step.half.eq(emptied), step.place.eq(row.place + column.place),
            step.chunk.eq(chunk), step.pixel.eq(pixel), step.index.eq(index), step.last.eq(block_last),
            step.none.eq(row.none | column.none), step.layer.eq(layer),
            *(step.tile[name].eq(value) for name, value in drain.finish(DrainStep(layer, constant, end), row, column).items()),
        ]  # fmt: skip
        with m.If(running):
            m.d.sync += [
                chunk.eq(Mux(chunk_last, 0, chunk + 1)), index.eq(Mux(block_last, 0, index + 1)),
                pixel.eq(Mux(block_last, 0, pixel + chunk_last)),
            ]  # fmt: skip
        with m.If(running & block_last):
            with m.If(~column.last):
                m.d.sync += column_at.eq(column_at + 1)
            with m.Elif(~row.last):
                m.d.sync += [column_at.eq(column_phase), row_at.eq(row_at + 1)]
            with m.Else():
                following = Mux(column.final, row.next, row_phase)
                m.d.sync += [
                    column_at.eq(column.next), column_phase.eq(column.next), row_at.eq(following), row_phase.eq(following),
                ]  # fmt: skip
        with m.If(running & phases_last):
            m.d.sync += constant.eq(Mux(end & (layer == len(uses) - 1), 0, constant + by_layer(layer, [use.chunks for use in uses])))
        if len(uses) > 1:
            row_starts, column_starts = zip(*[*drain.starts[1:], drain.starts[0]], strict=True)
            with m.If(running & end):
                m.d.sync += [
                    layer.eq(Mux(layer == len(uses) - 1, 0, layer + 1)),
                    *(at.eq(by_layer(layer, row_starts)) for at in (row_at, row_phase)),
                    *(at.eq(by_layer(layer, column_starts)) for at in (column_at, column_phase)),
                ]  # fmt: skip
        with m.If(begins):
            m.d.sync += [running.eq(1), emptied.eq(half)]
        with m.Elif(tile_last):
            m.d.sync += running.eq(0)
        return step
