"""A controller of one SDR SDRAM: words one after the other, a row open as long as they lie in it."""

from typing import Any

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from organza.board import ALL_BANKS, Memory
from organza_hw.external.sdram_timing import MODE, Cycles

REFRESHES = 8  # before the first use; data sheets say 2 to 8
ANSWERS = 16  # words that are on their way or wait to be taken; one goes round in 10 cycles


class Order(enum.Enum, shape=3):
    """What the chip does: its pins ras, cas, we, the first one lowest, as they are at the pins."""

    NOTHING = 0b111
    ACTIVATE = 0b110
    READ = 0b101
    WRITE = 0b001
    PRECHARGE = 0b010
    REFRESH = 0b100
    MODE = 0b000


def pin_signature(memory: Memory) -> wiring.Signature:
    """Of the chip but for its clock: everything but `dq_i` as it is to be at the pins a cycle later. It is always selected."""
    assert memory.pins is not None
    masks = len(memory.pins.dqm)
    masked: Any = {"init": (1 << masks) - 1}  # the stubs know no init
    nothing: Any = {"init": Order.NOTHING}
    return wiring.Signature({
        "cke": Out(1), "order": Out(Order, **nothing), "ba": Out(len(memory.pins.ba)), "a": Out(len(memory.pins.a)),
        "dqm": Out(masks, **masked), "dq_o": Out(memory.width), "dq_oe": Out(1), "dq_i": In(memory.width),
    })  # fmt: skip


def request_signature(memory: Memory, tag_bits: int) -> stream.Signature:
    """To read or write a word. tag : comes back with what is read."""
    return stream.Signature(data.StructLayout({"write": 1, "address": memory.address_bits, "data": memory.width, "tag": tag_bits}))


def answer_signature(memory: Memory, tag_bits: int) -> stream.Signature:
    """A word that was read."""
    return stream.Signature(data.StructLayout({"data": memory.width, "tag": tag_bits}))


class Sdram(wiring.Component):
    """Initialises and refreshes the chip, reads and writes words in the order in which they are asked for; bursts of one word, a column a cycle.

    Throughput: a word a cycle, reading or writing, of rows one after the other; another row costs `Cycles.new_row`, a refresh `refresh_cycle`
    and a row, a write behind reads waits until the last of those has come. Latency: of a word of the open row, `LATENCY` and the CAS latency
    from its request to its answer. Full back-pressure: no word is read that has no place to wait; none is taken before the chip is initialised.

    The chip's clock is that of the domain turned over (`organza_hw.boards.sdram_pads`), so that it sees its inputs in the middle of their time.

    Parameters
    ----------
    memory : with pins and timing. hz : of the clock. tag_bits : see `request_signature`.

    Members
    -------
    i : In, stream of `request_signature`. o : Out, stream of `answer_signature`, for every request that reads, in order.
    pins : Out, `pin_signature`, all of it from registers.
    """

    i: stream.Interface
    o: stream.Interface
    pins: Any

    LATENCY = 6  # into the request's register, an order's, a pin's, the word's, and in and out of the queue

    def __init__(self, memory: Memory, hz: int, tag_bits: int = 1):
        assert memory.timing is not None
        self.memory, self.tag_bits = memory, tag_bits
        self.cycles = Cycles.of(memory.timing, hz)
        super().__init__({
            "i": In(request_signature(memory, tag_bits)), "o": Out(answer_signature(memory, tag_bits)), "pins": Out(pin_signature(memory)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        cycles, pins = self.cycles, self.pins
        # The request that is served, and whether it is in the row of the one before.
        full, same, done, request = Signal(), Signal(), Signal(), Signal.like(self.i.payload)
        m.d.comb += self.i.ready.eq(~full | done)
        with m.If(self.i.ready):
            m.d.sync += full.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [request.eq(self.i.payload), same.eq(self._row(self.i.payload.address) == self._row(request.address))]

        # A row is open. Cycles until the next order but for words; until a precharge; until a refresh.
        opened, keep, until, due = Signal(), Signal(range(max(cycles.keep, cycles.write_recovery))), Signal(range(cycles.refresh_interval)), Signal()
        wait = Signal(range(max(cycles.refresh_cycle, cycles.initialization) + 1), init=cycles.initialization)
        free, closable = Signal(), Signal()
        refresh, read = Signal(), Signal()
        m.d.comb += [free.eq(wait == 0), closable.eq(keep == 0)]
        m.d.sync += until.eq(Mux(until == 0, cycles.refresh_interval - 1, until - 1))
        with m.If(until == 0):
            m.d.sync += due.eq(1)
        with m.Elif(refresh):
            m.d.sync += due.eq(0)
        with m.If(~free):
            m.d.sync += wait.eq(wait - 1)
        with m.If(~closable):
            m.d.sync += keep.eq(keep - 1)

        coming = self._answers(m, read, request.tag)
        m.d.sync += [pins.cke.eq(1), pins.order.eq(Order.NOTHING), pins.dq_oe.eq(0), pins.dq_o.eq(request.data)]

        def precharge():
            m.d.sync += [pins.order.eq(Order.PRECHARGE), pins.a.eq(1 << ALL_BANKS), wait.eq(cycles.row_precharge - 1), opened.eq(0)]

        def refreshed():
            m.d.comb += refresh.eq(1)
            m.d.sync += [pins.order.eq(Order.REFRESH), wait.eq(cycles.refresh_cycle - 1)]

        left = Signal(range(REFRESHES), init=REFRESHES - 1)
        with m.If(free), m.FSM():
            with m.State("PRECHARGE"):
                precharge()
                m.next = "REFRESH"
            with m.State("REFRESH"):
                refreshed()
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.next = "MODE"
            with m.State("MODE"):
                # Bursts of one word, read and written.
                m.d.sync += [pins.order.eq(Order.MODE), pins.ba.eq(0), pins.a.eq(cycles.cas_latency << 4), wait.eq(MODE - 1)]
                m.next = "WORDS"
            with m.State("WORDS"):
                m.d.sync += pins.dqm.eq(0)
                with m.If(due | (full & opened & ~same)):
                    with m.If(opened):
                        with m.If(closable):
                            precharge()
                    with m.Else():
                        refreshed()
                with m.Elif(full & ~opened):
                    row = self._row(request.address)
                    m.d.sync += [
                        pins.order.eq(Order.ACTIVATE), pins.a.eq(row[len(pins.ba) :]), pins.ba.eq(row), opened.eq(1), same.eq(1),
                        wait.eq(cycles.row_to_column - 1), keep.eq(cycles.keep - 1),
                    ]  # fmt: skip
                with m.Elif(full):
                    m.d.sync += pins.a.eq(request.address[: self.memory.column_bits])
                    with m.If(request.write):
                        with m.If(~coming.any()):
                            m.d.comb += done.eq(1)
                            m.d.sync += [pins.order.eq(Order.WRITE), pins.dq_oe.eq(1)]
                            with m.If(keep < cycles.write_recovery):
                                m.d.sync += keep.eq(cycles.write_recovery - 1)
                    with m.Elif(self._room != 0):
                        m.d.comb += [done.eq(1), read.eq(1)]
                        m.d.sync += pins.order.eq(Order.READ)
        return m

    def _row(self, address):
        """Bank, lowest, and row: words one after the other fill a row of every bank first."""
        return address[self.memory.column_bits :]

    def _answers(self, m, read, tag):
        """Words that come of orders to read; which of those are on their way."""
        latency = self.cycles.cas_latency + 3
        coming, tags = Signal(latency), Signal(latency * self.tag_bits)
        m.d.sync += [coming.eq(Cat(read, coming)), tags.eq(Cat(tag, tags))]
        m.submodules.queue = queue = SyncFIFOBuffered(width=self.memory.width + self.tag_bits, depth=ANSWERS)
        self._room = Signal(range(ANSWERS + 1), init=ANSWERS)
        taken = Signal()
        m.d.comb += [
            queue.w_en.eq(coming[-1]), queue.w_data.eq(Cat(self.pins.dq_i, tags[-self.tag_bits :])),
            self.o.valid.eq(queue.r_rdy), Value.cast(self.o.payload).eq(queue.r_data), queue.r_en.eq(self.o.ready), taken.eq(self.o.valid & self.o.ready),
        ]  # fmt: skip
        m.d.sync += self._room.eq(self._room - read + taken)
        return coming
