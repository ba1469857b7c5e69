"""Accumulators of a tile and the shadow copy that the epilogue empties while the lanes go on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.schedule import Schedule, ceil_div
from organza.time_sharing import TimeSharing
from organza_hw.choice import chosen
from organza_hw.lanes.carry import accumulate


class Use(NamedTuple):
    """How a layer uses the accumulators: P × To of them, of which G pixels leave together, E channels each.

    lanes : of pixel and channel; pixel · To + channel where it is None.
    """

    to: int
    p: int
    e: int
    g: int = 1
    lanes: dict[tuple[int, int], int] | None = None

    @classmethod
    def of(cls, schedule: Schedule) -> "Use":
        """Of a layer."""
        return cls(schedule.to, schedule.p, schedule.e, schedule.g)

    @classmethod
    def of_shared(cls, shared: TimeSharing) -> list["Use"]:
        """Of the layers of an engine."""
        made = []
        for number, schedule in enumerate(shared.layers):
            lanes = {used[number]: lane for lane, used in enumerate(shared.lane_uses) if number in used}
            made.append(cls.of(schedule)._replace(lanes=lanes))
        return made

    def lane(self, pixel: int, channel: int) -> int:
        """Where the sum of a pixel's channel is."""
        return pixel * self.to + channel if self.lanes is None else self.lanes[pixel, channel]

    @property
    def chunks(self) -> int:
        """Steps for all channels of a pixel."""
        return ceil_div(self.to, self.e)


class Accumulators(wiring.Component):
    """Sums of P × To lanes; a finished tile leaves E · G sums a cycle, pixel by pixel.

    Latency: the first sums of a tile are at `o_sums` two cycles after its last issue. No back-pressure: the schedule
    guarantees at least P / G · ceil(To / E) cycles from one tile's last issue to the next's.

    Parameters
    ----------
    bits : signed width of a sum. uses : of a layer, or of several that take turns. tile_layout : of what travels with a tile; with
    several uses it has a field `layer`, the number of the tile's.

    Members
    -------
    valid, first, last : In, of the issue whose sums are at `sums`.
    sums : In, by lane, as many as all uses have.
    tile : In(tile_layout), data of the tile, taken with `last`.
    o_valid : Out(1). o_sums : Out, as many as leave at once. o_chunk, o_pixel : Out, which channels and (first) pixel of the tile they
        belong to.
    o_last : Out(1), final step of the tile. o_tile : Out(tile_layout). o_load : Out(1), what leaves from the next cycle on is another tile.
    """

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
    o_load: Signal

    def __init__(self, *, bits, uses: Sequence[Use], tile_layout, instances=False):
        self.bits, self.uses, self.instances = bits, uses, instances
        self.lanes = max(use.lane(use.p - 1, use.to - 1) + 1 for use in uses)
        self.together = max(use.e * use.g for use in uses)
        super().__init__({
            "valid": In(1), "first": In(1), "last": In(1),
            "sums": In(data.ArrayLayout(signed(bits), self.lanes)),
            "tile": In(tile_layout),
            "o_valid": Out(1),
            "o_sums": Out(data.ArrayLayout(signed(bits), self.together)),
            "o_chunk": Out(range(max(*(use.chunks for use in uses), 2))),
            "o_pixel": Out(range(max(*(use.p for use in uses), 2))),
            "o_last": Out(1),
            "o_tile": Out(tile_layout),
            "o_load": Out(1),
        })  # fmt: skip

    @staticmethod
    def latency(drain):
        """Cycles from the last issue of a tile to its last sums; `drain` steps empty it."""
        return 1 + drain

    def _sources(self) -> list[dict[int, int]]:
        """By place of the shadow: the lane that it takes in each use. A step takes as many places in any use."""
        steps = max(ceil_div(use.p, use.g) * use.chunks for use in self.uses)
        made: list[dict[int, int]] = [{} for _ in range(steps * self.together)]
        for number, use in enumerate(self.uses):
            for pixel in range(use.p):
                for channel in range(use.to):
                    chunk, unit = divmod(channel, use.e)
                    step, with_it = divmod(pixel, use.g)
                    place = (step * use.chunks + chunk) * self.together + with_it * use.e + unit
                    made[place][number] = use.lane(pixel, channel)
        return made

    def _limits(self, m, load, tile) -> tuple[Any, Any, Any]:
        """Last chunk and pixel of the tile that leaves, and pixels of a step; registers where uses differ."""
        limits = [(use.chunks - 1, use.p - use.g, use.g) for use in self.uses]
        if len(limits) == 1:
            return limits[0]
        held = Signal.like(self.o_chunk), Signal.like(self.o_pixel), Signal(range(max(use.g for use in self.uses) + 1))
        with m.If(load):
            m.d.sync += [kept.eq(Array(values)[tile.layer]) for kept, values in zip(held, zip(*limits, strict=True), strict=True)]
        return held

    def elaborate(self, platform):
        m = Module()
        sources = self._sources()
        shadow = Signal(data.ArrayLayout(signed(self.bits), len(sources)))
        running = Signal()
        # The shadow takes the sums out of their registers: behind the adders it would be too late in the cycle.
        load, tile = self.o_load, Signal.like(self.tile)
        m.d.sync += [load.eq(self.valid & self.last), tile.eq(self.tile)]
        chunk_end, pixel_end, pixels = self._limits(m, load, tile)
        m.d.comb += [
            self.o_valid.eq(running),
            self.o_last.eq((self.o_pixel == pixel_end) & (self.o_chunk == chunk_end)),
        ]
        m.d.comb += [self.o_sums[unit].eq(shadow[unit]) for unit in range(self.together)]

        with m.If(running):
            m.d.sync += self.o_chunk.eq(self.o_chunk + 1)
            m.d.sync += [shadow[k].eq(shadow[k + self.together]) for k in range(len(sources) - self.together)]
            with m.If(self.o_chunk == chunk_end):
                m.d.sync += [self.o_chunk.eq(0), self.o_pixel.eq(self.o_pixel + pixels)]
            with m.If(self.o_last):
                m.d.sync += [running.eq(0), self.o_pixel.eq(0)]
        with m.If(load):
            m.d.sync += [running.eq(1), self.o_tile.eq(tile)]
        held = [Signal(signed(self.bits), name=f"sum_{lane}") for lane in range(self.lanes)]
        for lane in range(self.lanes):
            total = Signal(signed(self.bits), name=f"total_{lane}")
            m.d.comb += total.eq(accumulate(m, held[lane], self.first, self.sums[lane], instances=self.instances))
            with m.If(self.valid):
                m.d.sync += held[lane].eq(total)
        for place, lanes in enumerate(sources):
            if lanes:  # where To is no multiple of E there are places that nothing fills
                with m.If(load):
                    values = {number: held[lane] for number, lane in lanes.items()}
                    m.d.sync += shadow[place].eq(values[0] if len(self.uses) == 1 else chosen(m, tile.layer, values))
        return m
