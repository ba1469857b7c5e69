"""Accumulators of a tile and the shadow copy that the epilogue empties while the lanes go on."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.lanes.carry import accumulate


class Accumulators(wiring.Component):
    """P × To accumulators; a finished tile leaves E sums a cycle, pixel by pixel.

    Latency: the first E sums of a tile are at `o_sums` two cycles after its last issue. No back-pressure: the schedule
    guarantees at least P·ceil(To/E) cycles from one tile's last issue to the next's.

    Members
    -------
    valid, first, last : In, of the issue whose sums are at `sums`.
    sums : In, P × To.
    tile : In(tile_layout), data of the tile, taken with `last`.
    o_valid : Out(1). o_sums : Out, E sums. o_chunk, o_pixel : Out, which channels and pixel of the tile they belong to.
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

    def __init__(self, *, bits, to, p, e, tile_layout, instances=False):
        self.bits, self.to, self.p, self.e, self.instances = bits, to, p, e, instances
        self.chunks = -(-to // e)
        super().__init__({
            "valid": In(1), "first": In(1), "last": In(1),
            "sums": In(data.ArrayLayout(data.ArrayLayout(signed(bits), to), p)),
            "tile": In(tile_layout),
            "o_valid": Out(1),
            "o_sums": Out(data.ArrayLayout(signed(bits), e)),
            "o_chunk": Out(range(max(self.chunks, 2))),
            "o_pixel": Out(range(max(p, 2))),
            "o_last": Out(1),
            "o_tile": Out(tile_layout),
        })  # fmt: skip

    @staticmethod
    def latency(drain):
        """Cycles from the last issue of a tile to its last E sums; `drain` steps empty it."""
        return 1 + drain

    def elaborate(self, platform):
        m = Module()
        width = self.chunks * self.e
        shadow = Signal(data.ArrayLayout(signed(self.bits), self.p * width))
        running = Signal()
        # The shadow takes the sums out of their registers: behind the adders it would be too late in the cycle.
        load, tile = Signal(), Signal.like(self.tile)
        m.d.sync += [load.eq(self.valid & self.last), tile.eq(self.tile)]
        m.d.comb += [
            self.o_valid.eq(running),
            self.o_last.eq((self.o_pixel == self.p - 1) & (self.o_chunk == self.chunks - 1)),
        ]
        m.d.comb += [self.o_sums[unit].eq(shadow[unit]) for unit in range(self.e)]

        with m.If(running):
            m.d.sync += self.o_chunk.eq(self.o_chunk + 1)
            m.d.sync += [shadow[k].eq(shadow[k + self.e]) for k in range(self.p * width - self.e)]
            with m.If(self.o_chunk == self.chunks - 1):
                m.d.sync += [self.o_chunk.eq(0), self.o_pixel.eq(self.o_pixel + 1)]
            with m.If(self.o_last):
                m.d.sync += [running.eq(0), self.o_pixel.eq(0)]
        with m.If(load):
            m.d.sync += [running.eq(1), self.o_tile.eq(tile)]
        for pixel in range(self.p):
            for channel in range(self.to):
                held = Signal(signed(self.bits), name=f"sum_{pixel}_{channel}")
                total = Signal(signed(self.bits), name=f"total_{pixel}_{channel}")
                m.d.comb += total.eq(
                    accumulate(m, held, self.first, self.sums[pixel][channel], instances=self.instances)
                )
                with m.If(self.valid):
                    m.d.sync += held.eq(total)
                with m.If(load):
                    m.d.sync += shadow[pixel * width + channel].eq(held)
        return m
