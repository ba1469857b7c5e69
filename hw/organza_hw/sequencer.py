"""Issues of a layer: when they may go, and what they read.

It waits only before an output unit (a row, or an image, see `organza_hw.orders`): for input rows that have not arrived,
and for a place for its output. Where lane words come as a stream it also waits for each of them.

Where every (co tile, tap) has the same number of issues, as in all dense codes and balanced sparse ones, a constant and
some adders do for lane word addresses. Otherwise a table has the first word and the number of words of each.
"""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.lanes.dot import register
from organza_hw.orders import Tables
from organza_hw.rom import Rom
from organza_hw.table import Table

OUTPUT_UNITS = 2
# Of codes whose lane words read the ring one word after the other; others look the ring word up first.
ADDRESS_LATENCY = 3
RELEASE_LATENCY = 3


def lookup_latency(schedule) -> int:
    """Cycles that addresses, and so releases, come later because the ring word of an issue must be looked up."""
    return Rom.LATENCY * schedule.node.code.gathers


def address_latency(schedule) -> int:
    """Cycles from an issue to its `valid`, with the addresses of the ring and of the weights."""
    return ADDRESS_LATENCY + lookup_latency(schedule)


def release_latency(schedule) -> int:
    """Cycles from the last issue of a unit to the first that may take another row in place of one it gives up."""
    return RELEASE_LATENCY + lookup_latency(schedule)


class Sequencer(wiring.Component):
    """Issues of one layer.

    Throughput: an issue every cycle in which the unit may run. Latency: `address_latency` cycles from an issue to its
    `valid`, with the addresses of the ring and of the weights. No back-pressure after an issue: a unit starts only when its
    whole output has a place.

    Parameters
    ----------
    blocks : `Rom` with the ring word of every lane word, None if they follow each other. words_ahead : of a layer whose lane
    words come as a stream, how many can have come before they are used; 0 for one that reads them by `weight_addr`.

    Members
    -------
    enable : In(1), nothing is issued before it; stays.
    row_written : In(1), an input row has arrived. unit_freed : In(1), an output unit has been sent.
    word_ready : In(1), one more lane word has come, if there are `words_ahead`.
    release : Out, input rows that may be overwritten, `release_latency` - 1 cycles after the last issue of a unit.
    issue : Out, see `issue_layout`. ring_addr, weight_addr : Out, with it.
    """

    enable: Signal
    word_ready: Signal
    row_written: Signal
    unit_freed: Signal
    release: Signal
    issue: data.View
    ring_addr: data.View
    weight_addr: Signal

    def __init__(self, tables: Tables, *, blocks: Rom | None = None, words_ahead: int = 0):
        self.tables, self.schedule, self.ring = tables, tables.schedule, tables.ring
        self.blocks, self.words_ahead = blocks, words_ahead
        self.walk = tables.create()
        self.issue_layout = data.StructLayout({
            "valid": 1,
            "first": 1,  # load the sums
            "last": 1,  # they are complete
            "unit_end": 1,  # last issue of an output unit
            "turn": range(max(self.ring.banks, 2)),
            "mask": data.ArrayLayout(1, self.schedule.p),
            "partial": 1,  # last input-channel tile of a group, where they follow each other
            "word": 1,  # the first one with its lane word, in weight order
            **tables.issue_fields,
        })  # fmt: skip
        words = int(self.schedule.tap_issues.sum())
        super().__init__({
            "enable": In(1, init=1),  # pyright: ignore[reportCallIssue] (the stubs know no init)
            "row_written": In(1),
            "unit_freed": In(1),
            "release": Out(range(self.ring.depth + 1)),
            "issue": Out(self.issue_layout),
            "ring_addr": Out(data.ArrayLayout(range(max(self.ring.bank_words, 2)), self.ring.banks)),
            "weight_addr": Out(range(max(words, 2))),
            **({"word_ready": In(1)} if words_ahead else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = self.walk
        at = walk.at

        # May the unit start?
        ahead = Signal(range(self.ring.depth + 1))  # rows arrived and not yet given up
        busy = Signal(range(OUTPUT_UNITS + 1))  # output units not yet sent
        may = ~at.begin | (self.enable & (ahead >= at.window) & (busy < OUTPUT_UNITS))
        if self.words_ahead:
            words = Signal(range(self.words_ahead + 1))  # that have come and are not yet used
            m.d.sync += words.eq(words + self.word_ready - (walk.fire & at.word))
            may &= ~at.word | (words != 0)
        m.d.comb += walk.may.eq(may)

        release = Signal.like(self.release)
        m.d.comb += release.eq(Mux(walk.fire & at.end, at.release, 0))
        m.d.sync += [
            ahead.eq(ahead + self.row_written - release),
            busy.eq(busy + (walk.fire & at.begin) - self.unit_freed),
        ]
        for _ in range(release_latency(self.schedule) - 2):
            delayed = Signal.like(release)
            m.d.sync += delayed.eq(release)
            release = delayed
        m.d.sync += self.release.eq(release)
        self._addresses(m, walk.fire, at)
        return m

    def _addresses(self, m, fire, at):
        """Three registered steps, and those that look up the ring word."""
        schedule, ring = self.schedule, self.ring
        origin = Signal(range(max(ring.depth, 2)))  # slot of the image's first row
        with m.If(fire & at.final):
            turned = origin + schedule.node.y.size % ring.depth
            m.d.sync += origin.eq(Mux(turned >= ring.depth, turned - ring.depth, turned))
        one = Signal(self.issue_layout)
        weight_row, weight_column = Signal.like(at.tile), Signal.like(at.tile)
        slot, from_origin = Signal.like(at.slot), Signal.like(origin)
        place, word = Signal.like(at.address), Signal.like(at.channel)
        m.d.sync += [
            one.valid.eq(fire), one.unit_end.eq(at.end),
            *(one[name].eq(at[name]) for name in ("first", "last", "word", "turn", "mask", "partial")),
            *(one[name].eq(at.sums[name]) for name in self.tables.issue_fields),
            weight_row.eq(at.tile + at.row if self.tables.uniform else at.tile | at.row),
            weight_column.eq(at.column + at.number if self.tables.uniform else at.column),
            slot.eq(at.slot), from_origin.eq(origin), place.eq(at.address), word.eq(at.channel),
        ]  # fmt: skip
        two = Signal(self.issue_layout)
        weight = Signal.like(self.weight_addr)
        slot_word = Signal(range(max(ring.bank_words, 2)))
        words = Signal(data.ArrayLayout(range(max(ring.row_words, 2)), ring.banks))
        slots = Array(number % ring.depth * ring.row_words for number in range(2 * ring.depth))
        m.d.sync += [two.eq(one), slot_word.eq(slots[slot + from_origin])]
        if self.tables.uniform:
            m.d.sync += weight.eq(weight_row + weight_column)
        else:
            m.submodules.starts = starts = Table([{"start": tap["start"]} for tap in self.tables.taps])
            number = Signal.like(at.number)
            m.d.sync += number.eq(at.number)
            m.d.comb += starts.index.eq(weight_row | weight_column)
            m.d.sync += weight.eq(starts.row.start + number)
        m.d.sync += [words[bank].eq(place[bank] + word) for bank in range(ring.banks)]
        if self.blocks is None:
            m.d.sync += [self.issue.eq(two), self.weight_addr.eq(weight)]
            m.d.sync += [self.ring_addr[bank].eq(slot_word + words[bank]) for bank in range(ring.banks)]
            return
        m.submodules.blocks = self.blocks
        base = Signal.like(self.ring_addr)
        wait = Rom.LATENCY
        m.d.comb += self.blocks.addr.eq(weight)
        m.d.sync += [self.issue.eq(register(m, two, stages=wait)), self.weight_addr.eq(register(m, weight, stages=wait))]
        for bank in range(ring.banks):
            m.d.sync += base[bank].eq(slot_word + words[bank])
            m.d.sync += self.ring_addr[bank].eq(register(m, base[bank], stages=wait - 1) + self.blocks.data)
