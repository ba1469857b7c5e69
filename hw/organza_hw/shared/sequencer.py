"""Issues of all layers of a time-shared engine, one layer after the other."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.time_sharing import IMAGE_GAP
from organza_hw.shared.tables import SharedTables
from organza_hw.table import Table


class SharedSequencer(wiring.Component):
    """Issues of the layers, image after image, in row order.

    Throughput: an issue every cycle, but for what the epilogue asks (`TimeSharing.row_costs`), `IMAGE_GAP` cycles between images, and
    the time from the last issue of a layer until the next one can read all of its output. Latency: `LATENCY` cycles from an issue to its
    `valid`, with the addresses of frames and weights. No back-pressure after an issue: a row of the last layer starts only when
    there is a place for it.

    Members
    -------
    taken : In(1), an image has been taken. unit_freed : In(1), an output row has been sent.
    written : In(1), with the next cycle an issue may read the whole output of the layer whose last issue is behind.
    open : Out(1), the next image may be taken: the last layer has begun.
    issue : Out, see `issue_layout`. frame_addr, weight_addr : Out, with it.
    tile_last, tile : Out, `TILE_LEAD` cycles before it: whether it is the last of its tile, and what is to know of the tile then.
    """

    LATENCY = 3
    TILE_LEAD = 2

    taken: Signal
    unit_freed: Signal
    written: Signal
    open: Signal
    issue: data.View
    frame_addr: data.View
    weight_addr: Signal
    tile_last: Signal
    tile: data.View

    def __init__(self, tables: SharedTables):
        self.tables, self.shared = tables, tables.shared
        frames = tables.frames
        self.issue_layout = data.StructLayout({
            "valid": 1, "first": 1, "last": 1, "read": range(max(len(tables.reads), 2)),
            "mask": data.ArrayLayout(1, self.shared.p), "layer": tables.layers,
        })  # fmt: skip
        super().__init__({
            "taken": In(1), "unit_freed": In(1), "written": In(1), "open": Out(1),
            "issue": Out(self.issue_layout),
            "frame_addr": Out(data.ArrayLayout(range(max(frames.bank_words, 2)), frames.banks)),
            "weight_addr": Out(range(max(self.shared.words, 2))),
            "tile_last": Out(1), "tile": Out(data.StructLayout(tables.tile_fields)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        tables = self.tables
        m.submodules.rows, m.submodules.columns = row_table, column_table = Table(tables.rows), Table(tables.columns)
        m.submodules.layers = layer_table = Table(tables.descriptors)
        row, column, layer = row_table.row, column_table.row, Signal.like(layer_table.row)
        row_at, row_start = Signal.like(row_table.index), Signal.like(row_table.index)
        column_at, column_start = Signal.like(column_table.index), Signal.like(column_table.index)
        number = Signal(range(max(tables.most_channels, 2)))
        tile = Signal(range(max(max(d["tiles"] for d in tables.descriptors) + 1, 2)))
        weight = Signal.like(self.weight_addr)
        layer_at = Signal.like(self.issue.layer)
        m.d.sync += layer.eq(layer_table.row)
        m.d.comb += [
            row_table.index.eq(row_at), column_table.index.eq(column_at), layer_table.index.eq(layer_at),
        ]  # fmt: skip

        # May it be issued? `left`: cycles in which the epilogue still empties the tile before.
        settle, wait, there = Signal(range(IMAGE_GAP + 1), init=IMAGE_GAP), Signal(), Signal()
        busy = Signal(range(self.shared.rows + 1))  # rows of the last layer not yet sent
        left = Signal(range(max(max(d["drain"] for d in tables.descriptors) + 1, 2)), init=tables.descriptors[-1]["drain"])
        begin_row, begin_layer, first = Signal(init=1), Signal(init=1), Signal(init=1)
        begin_image, may, fire = Signal(), Signal(), Signal()
        none, tap_last, last, column_end, row_end, end = (
            Signal(name=name) for name in ("none", "tap_last", "last", "column_end", "row_end", "end")
        )
        m.d.comb += [
            begin_image.eq(begin_layer & (layer_at == 0)),
            may.eq((settle == 0) & ~wait & (~begin_image | there) & (~(begin_row & layer.final) | (busy < self.shared.rows))),
            none.eq(row.none | column.none),
            tap_last.eq(number == layer.channels),
            last.eq(none | (tap_last & column.last & row.last)),
            column_end.eq(last & column.final),
            row_end.eq(column_end & (tile == layer.tiles)),
            end.eq(row_end & row.final),
            fire.eq(may & (~last | (left == 0))),
        ]  # fmt: skip
        m.d.sync += [
            # In the cycle after: the layer before is written to its end in the one in which a beat that comes then is.
            self.open.eq(fire & begin_layer & layer.final),
            there.eq((there | self.taken) & ~(fire & begin_image)),
            busy.eq(busy + (fire & begin_row & layer.final) - self.unit_freed),
        ]  # fmt: skip
        with m.If(fire & last):
            m.d.sync += left.eq(layer.drain)
        with m.Elif(may & (left != 0)):
            m.d.sync += left.eq(left - 1)
        with m.If(self.written):
            m.d.sync += wait.eq(0)

        with m.If(settle != 0):
            m.d.sync += settle.eq(settle - 1)
        with m.If(settle == 1):
            m.d.sync += [
                row_at.eq(layer.rows), row_start.eq(layer.rows), column_at.eq(layer.columns), column_start.eq(layer.columns),
                weight.eq(layer.weights), tile.eq(0), number.eq(0),
            ]  # fmt: skip
        with m.If(fire):
            m.d.sync += [begin_row.eq(row_end), begin_layer.eq(end), first.eq(last)]
            with m.If(~last):
                m.d.sync += number.eq(number + 1)
                with m.If(tap_last):
                    m.d.sync += [number.eq(0), column_at.eq(column_at + 1)]
                    with m.If(column.last):
                        m.d.sync += [column_at.eq(column_start), row_at.eq(row_at + 1)]
            with m.Else():
                m.d.sync += [number.eq(0), column_at.eq(column.next), column_start.eq(column.next), row_at.eq(row_start)]
            with m.If(column_end):
                m.d.sync += [weight.eq(weight + layer.tile_step), tile.eq(tile + 1)]
            with m.If(row_end):
                m.d.sync += [weight.eq(layer.weights), tile.eq(0), row_at.eq(row.next), row_start.eq(row.next)]
            with m.If(end):
                m.d.sync += [settle.eq(IMAGE_GAP), wait.eq(~layer.final), layer_at.eq(Mux(layer.final, 0, layer_at + 1))]
        self._addresses(m, fire, row, column, number, weight)

        one, two = Signal(self.issue_layout), Signal(self.issue_layout)
        m.d.comb += self.tile_last.eq(one.valid & one.last)
        m.d.sync += [
            one.valid.eq(fire), one.first.eq(first), one.last.eq(last), one.read.eq(column.read),
            one.mask.eq(Mux(none, 0, column.mask.as_value())),
            one.layer.eq(layer_at), self.tile.column_end.eq(column_end), self.tile.row_end.eq(row_end), self.tile.end.eq(end),
            self.tile.place.eq(column.place), self.tile.pixels.eq(column.pixels),
            two.eq(one), self.issue.eq(two),
        ]  # fmt: skip
        return m

    def _addresses(self, m, fire, row, column, number, weight):
        """Three registered steps."""
        rows, more = Signal.like(weight), Signal.like(weight)
        places, address = Signal.like(column.address), [Signal.like(row.address) for _ in range(2)]
        channel, words, total = Signal.like(number), Signal.like(self.frame_addr), Signal.like(weight)
        m.d.sync += [
            rows.eq(weight + row.weight), more.eq(column.weight + number), total.eq(rows + more), self.weight_addr.eq(total),
            places.eq(column.address), channel.eq(number), address[0].eq(row.address), address[1].eq(address[0]),
        ]  # fmt: skip
        for bank in range(self.tables.frames.banks):
            m.d.sync += [
                words[bank].eq(places[bank] + channel), self.frame_addr[bank].eq(words[bank] + address[1]),
            ]  # fmt: skip
