"""C accumulators that layers use as P × To, each in its own way; a finished tile leaves E sums a cycle, pixel by pixel."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.time_sharing import TimeSharing
from organza_hw.lanes.carry import accumulate


class SharedAccumulators(wiring.Component):
    """Sums of lane ``pixel · To + channel``.

    Latency: the first E sums of a tile are at `o_sums` two cycles after its last issue. No back-pressure: the schedule
    guarantees at least P/G·ceil(To/E) cycles from one tile's last issue to the next's.

    Parameters
    ----------
    shared : layers and lanes. bits : signed width of a sum. tile_layout : what travels with a tile, with the number of its layer.

    Members
    -------
    valid, first, last : In, of the issue whose sums are at `sums`. sums : In, C. tile : In(tile_layout), taken with `last`.
    o_valid : Out(1). o_sums : Out, E sums. o_chunk, o_pixel : Out, which channels and (first) pixel of the tile they belong to.
    o_last : Out(1), final step of the tile. o_tile : Out(tile_layout).
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

    def __init__(self, shared: TimeSharing, *, bits, tile_layout, instances=False):
        self.shared, self.bits, self.instances = shared, bits, instances
        layers = shared.layers
        super().__init__({
            "valid": In(1), "first": In(1), "last": In(1),
            "sums": In(data.ArrayLayout(signed(bits), shared.c)),
            "tile": In(tile_layout),
            "o_valid": Out(1),
            "o_sums": Out(data.ArrayLayout(signed(bits), shared.e)),
            "o_chunk": Out(range(max(*(schedule.chunks for schedule in layers), 2))),
            "o_pixel": Out(range(max(shared.p, 2))),
            "o_last": Out(1),
            "o_tile": Out(tile_layout),
        })  # fmt: skip

    def _sources(self) -> list[dict[int, set[int]]]:
        """By place of the shadow: lanes that it takes, and the layers in which it takes them. A step takes E places in any layer."""
        shared = self.shared
        made: list[dict[int, set[int]]] = []
        for number, schedule in enumerate(shared.layers):
            for pixel in range(schedule.p):
                for channel in range(schedule.to):
                    chunk, unit = divmod(channel, schedule.e)
                    step, with_it = divmod(pixel, schedule.g)
                    place = (step * schedule.chunks + chunk) * shared.e + with_it * schedule.e + unit
                    made += [{} for _ in range(place + 1 - len(made))]
                    made[place].setdefault(pixel * schedule.to + channel, set()).add(number)
        return made

    def elaborate(self, platform):
        m = Module()
        shared = self.shared
        sources = self._sources()
        shadow = Signal(data.ArrayLayout(signed(self.bits), max(len(sources), shared.e)))
        running = Signal()
        # The shadow takes the sums out of their registers: behind the adders it would be too late in the cycle.
        load, tile = Signal(), Signal.like(self.tile)
        limits = [(schedule.chunks - 1, schedule.p - schedule.g, schedule.g) for schedule in shared.layers]
        chunk_end, pixel_end, more = Signal.like(self.o_chunk), Signal.like(self.o_pixel), Signal(range(shared.p + 1))
        m.d.sync += [load.eq(self.valid & self.last), tile.eq(self.tile)]
        m.d.comb += [
            self.o_valid.eq(running),
            self.o_last.eq((self.o_pixel == pixel_end) & (self.o_chunk == chunk_end)),
        ]
        m.d.comb += [self.o_sums[unit].eq(shadow[unit]) for unit in range(shared.e)]

        with m.If(running):
            m.d.sync += self.o_chunk.eq(self.o_chunk + 1)
            m.d.sync += [shadow[k].eq(shadow[k + shared.e]) for k in range(len(sources) - shared.e)]
            with m.If(self.o_chunk == chunk_end):
                m.d.sync += [self.o_chunk.eq(0), self.o_pixel.eq(self.o_pixel + more)]
            with m.If(self.o_last):
                m.d.sync += [running.eq(0), self.o_pixel.eq(0)]
        with m.If(load):
            m.d.sync += [
                running.eq(1), self.o_tile.eq(tile),
                *(
                    held.eq(Array(values)[tile.layer])
                    for held, values in zip((chunk_end, pixel_end, more), zip(*limits, strict=True), strict=True)
                ),
            ]  # fmt: skip
        held = [Signal(signed(self.bits), name=f"sum_{lane}") for lane in range(shared.c)]
        for lane in range(shared.c):
            total = Signal(signed(self.bits), name=f"total_{lane}")
            m.d.comb += total.eq(accumulate(m, held[lane], self.first, self.sums[lane], instances=self.instances))
            with m.If(self.valid):
                m.d.sync += held[lane].eq(total)
        for place, lanes in enumerate(sources):
            values = {number: held[lane] for lane, layers in lanes.items() for number in layers}
            if values:  # where To is no multiple of E there are places that no layer fills
                with m.If(load):
                    m.d.sync += shadow[place].eq(chosen(m, tile.layer, values))
        return m


def chosen(m, layer, values: dict):
    """What stands in `values` for a number of a layer; anything for one that does not. Layers with the same cost nothing."""
    distinct: list = []
    for value in values.values():
        if not any(value is other for other in distinct):
            distinct.append(value)
    if len(distinct) == 1:
        return distinct[0]
    made = Signal.like(distinct[0])
    with m.Switch(layer):
        for k, value in enumerate(distinct):
            numbers = [number for number, other in values.items() if other is value]
            with m.Default() if k == len(distinct) - 1 else m.Case(*numbers):
                m.d.comb += made.eq(value)
    return made
