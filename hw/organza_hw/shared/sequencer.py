"""Issues of all layers of a time-shared engine, one layer after the other: when they may go, and their addresses."""

from abc import abstractmethod
from typing import Any, NamedTuple

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.time_sharing import IMAGE_GAP
from organza_hw.shared.tables import SharedTables
from organza_hw.table import Table


class At(NamedTuple):
    """Where a sequencer is in the loops of a layer.

    row, column : entries of the tables. none : the tile has no tap. number : which read of the pixel. weight : first lane word of the
    co tile. begin : first issue of an output unit. first, last : of a tile, whose sums are loaded and complete. end : last issue of the
    layer. drain : cycles - 1 in which the epilogue empties the tile. sums : `SharedTables.issue_fields`.
    """

    row: Any
    column: Any
    none: Value
    number: Signal
    weight: Signal
    begin: Value
    first: Value
    last: Value
    end: Value
    drain: Value
    sums: dict[str, Value]


class SharedSequencer(wiring.Component):
    """Issues of the layers, image after image; each order walks through a layer in its own way.

    Throughput: an issue every cycle, but for what the epilogue asks (`TimeSharing.unit_costs`), `IMAGE_GAP` cycles between images, and
    the time from the last issue of a layer until the next one can read all of its output. Latency: `LATENCY` cycles from an issue to its
    `valid`, with the addresses of frames and weights. No back-pressure after an issue: an output unit of the last layer starts only when
    there is a place for it.

    Parameters
    ----------
    words_ahead : where lane words come as a stream, how many can have come before they are used; 0 where they are read by `weight_addr`.
    members : more of them.

    Members
    -------
    taken : In(1), an image has been taken. unit_freed : In(1), an output unit has been sent.
    word_ready : In(1), one more lane word has come, if there are `words_ahead`.
    written : In(1), with the next cycle an issue may read the whole output of the layer whose last issue is behind.
    open : Out(1), the next image may be taken: the last layer has begun.
    issue : Out, see `issue_layout`. frame_addr, weight_addr : Out, with it.
    """

    LATENCY = 3
    empties: bool  # the epilogue goes on emptying a tile while nothing may be issued

    taken: Signal
    unit_freed: Signal
    word_ready: Signal
    written: Signal
    open: Signal
    issue: data.View
    frame_addr: data.View
    weight_addr: Signal

    def __init__(self, tables: SharedTables, *, words_ahead: int = 0, members: dict[str, Any] | None = None):
        self.tables, self.shared, self.words_ahead = tables, tables.shared, words_ahead
        frames = tables.frames
        self.issue_layout = data.StructLayout({
            "valid": 1, "first": 1, "last": 1, "read": range(max(len(tables.reads), 2)),
            "mask": data.ArrayLayout(1, self.shared.p), "layer": tables.layers, **tables.issue_fields,
        })  # fmt: skip
        super().__init__({
            "taken": In(1), "unit_freed": In(1), "written": In(1), "open": Out(1),
            "issue": Out(self.issue_layout),
            "frame_addr": Out(data.ArrayLayout(range(max(frames.bank_words, 2)), frames.banks)),
            "weight_addr": Out(range(max(self.shared.words, 2))),
            **({"word_ready": In(1)} if words_ahead else {}), **(members or {}),
        })  # fmt: skip

    @abstractmethod
    def walk(self, m, layer, fire, begin, restart) -> At:
        """Advance with `fire`. begin : the issue is the first of a layer. restart : from the next cycle on, of the one with the descriptor `layer`."""

    def elaborate(self, platform):
        m = Module()
        tables, fire, may = self.tables, Signal(), Signal()
        m.submodules.layers = layer_table = Table(tables.descriptors)
        layer, layer_at = Signal.like(layer_table.row), Signal.like(self.issue.layer)
        m.d.sync += layer.eq(layer_table.row)
        m.d.comb += layer_table.index.eq(layer_at)
        # May it be issued? `left`: cycles in which the epilogue still empties the tile before.
        settle, wait, there = Signal(range(IMAGE_GAP + 1), init=IMAGE_GAP), Signal(), Signal()
        busy = Signal(range(self.shared.rows + 1))  # units of the last layer not yet sent
        left = Signal(range(max(tables.most_drain, 2)), init=tables.first_drain)
        begin_layer, begin_image = Signal(init=1), Signal()
        at = self.walk(m, layer, fire, begin_layer, settle == 1)
        starts = at.begin & layer.final
        m.d.comb += [
            begin_image.eq(begin_layer & (layer_at == 0)),
            may.eq((settle == 0) & ~wait & (~begin_image | there) & (~starts | (busy < self.shared.rows)) & self._word(m, fire, at)),
            fire.eq(may & (~at.last | (left == 0))),
        ]  # fmt: skip
        m.d.sync += [
            # In the cycle after: the layer before is written to its end in the one in which a beat that comes then is.
            self.open.eq(fire & begin_layer & layer.final),
            there.eq((there | self.taken) & ~(fire & begin_image)),
            busy.eq(busy + (fire & starts) - self.unit_freed),
        ]  # fmt: skip
        with m.If(fire & at.last):
            m.d.sync += left.eq(at.drain)
        with m.Elif((left != 0) & (may | self.empties)):
            m.d.sync += left.eq(left - 1)
        with m.If(self.written):
            m.d.sync += wait.eq(0)
        with m.If(settle != 0):
            m.d.sync += settle.eq(settle - 1)
        with m.If(fire):
            m.d.sync += begin_layer.eq(at.end)
            with m.If(at.end):
                m.d.sync += [settle.eq(IMAGE_GAP), wait.eq(~layer.final), layer_at.eq(Mux(layer.final, 0, layer_at + 1))]
        self._addresses(m, fire, at, layer_at)
        return m

    def _word(self, m, fire, at):
        """Has the lane word come, or is it none that must?"""
        if not self.words_ahead:
            return 1
        words = Signal(range(self.words_ahead + 1))  # that have come and are not yet used
        m.d.sync += words.eq(words + self.word_ready - (fire & at.sums["word"]))
        return ~at.sums["word"] | (words != 0)

    def _addresses(self, m, fire, at, layer):
        """Three registered steps."""
        rows, more = Signal.like(at.weight), Signal.like(at.weight)
        places, address = Signal.like(at.column.address), [Signal.like(at.row.address) for _ in range(2)]
        channel, words, total = Signal.like(at.number), Signal.like(self.frame_addr), Signal.like(at.weight)
        one, two = Signal(self.issue_layout), Signal(self.issue_layout)
        m.d.sync += [
            rows.eq(at.weight + at.row.weight), more.eq(at.column.weight + at.number), total.eq(rows + more), self.weight_addr.eq(total),
            places.eq(at.column.address), channel.eq(at.number), address[0].eq(at.row.address), address[1].eq(address[0]),
            one.valid.eq(fire), one.first.eq(at.first), one.last.eq(at.last), one.read.eq(at.column.read),
            one.mask.eq(Mux(at.none, 0, at.column.mask.as_value())), one.layer.eq(layer),
            *(one[name].eq(value) for name, value in at.sums.items()),
            two.eq(one), self.issue.eq(two),
        ]  # fmt: skip
        for bank in range(self.tables.frames.banks):
            m.d.sync += [
                words[bank].eq(places[bank] + channel), self.frame_addr[bank].eq(words[bank] + address[1]),
            ]  # fmt: skip
