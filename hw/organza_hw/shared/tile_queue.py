"""What an issue says of its tile waits in a memory until the sums of the tile are complete."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.block_ram import block_ram


class TileQueue(wiring.Component):
    """Registers all the way beside the lanes would cost as many bits a stage as a tile has.

    Latency: a tile can be read from the next cycle on, and is at `o_tile` in the cycle after `read`, until the next is. No
    back-pressure: `tiles` can wait.

    Members
    -------
    write, tile : In, a tile whose last issue is made. read : In, the sums of the oldest one are complete. o_tile : Out.
    """

    write: Signal
    tile: data.View
    read: Signal
    o_tile: data.View

    def __init__(self, tile_layout, *, tiles: int):
        self.layout, self.tiles = tile_layout, max(tiles, 2)
        super().__init__({"write": In(1), "tile": In(tile_layout), "read": In(1), "o_tile": Out(tile_layout)})

    def elaborate(self, platform):
        m = Module()
        # Two sides that count alike: as many places as the counters have, without a comparison.
        depth = 1 << (self.tiles - 1).bit_length()
        m.submodules.tiles = tiles = block_ram(self.layout, depth)
        write, read = tiles.write_port(), tiles.read_port()
        m.d.sync += [write.addr.eq(write.addr + self.write), read.addr.eq(read.addr + self.read)]
        m.d.comb += [write.en.eq(self.write), write.data.eq(self.tile), read.en.eq(self.read), self.o_tile.eq(read.data)]
        return m
