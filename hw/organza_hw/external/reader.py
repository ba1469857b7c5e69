"""Lane words of all engines out of one memory, over and over, each engine's ahead of its use."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.board import Board, Memory
from organza.plan import Plan
from organza.program import Program
from organza_hw.external.layout import Region, regions
from organza_hw.external.memory import PORT, external_works
from organza_hw.external.queue import BlockRamQueue
from organza_hw.external.sdram import ANSWERS, answer_signature, request_signature
from organza_hw.external.sdram_timing import Cycles
from organza_hw.external.supply import word_signature

QUEUE = 1024  # words of the memory that wait for an engine: a block RAM of an ECP5, of which less would take one too
LEAST_BURST = 16
START = 2  # cycles between two bursts


def burst_words(engines: int, cycles: Cycles) -> int:
    """Words that are read for one engine before the next has its turn, a power of two.

    An engine's next burst is asked for once its queue has room for one. Until its first word is there, every other engine may have had a
    turn, each with a new row and perhaps one in its midst, and there was a refresh: no more cycles than words are still in the queue. So an
    engine waits only when the memory as a whole is too slow.

    Raises ValueError if there are too many engines.
    """
    size = QUEUE // 2
    while size >= LEAST_BURST:
        turn = size + 2 * cycles.new_row + START
        if (engines - 1) * turn + cycles.refresh_cycle + 2 * cycles.new_row + ANSWERS + START <= QUEUE - size:
            return size
        size //= 2
    raise ValueError(f"Memory beside the chip must be for fewer engines than {engines}: their turns would be too short")


class LaneWords(wiring.Component):
    """Puts words of the memory together to lane words, and says which one is the last of an image.

    Throughput: a lane word in as many cycles as it has parts. Latency: a cycle behind its last part. Full back-pressure: a lane word that
    is not taken waits, and no part is taken then.

    Members
    -------
    i : In, stream of words of the memory, the lowest part first. o : Out, stream of `word_signature`.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, region: Region, width: int):
        self.region, self.width = region, width
        super().__init__({"i": In(stream.Signature(width)), "o": Out(word_signature(region.work))})

    def elaborate(self, platform):
        m = Module()
        parts, count = self.region.parts, self.region.work.words
        word, come = Signal(parts * self.width, reset_less=True), Signal(range(parts + 1))
        number, taken, part = Signal(range(max(count, 2))), Signal(), Signal()
        last = number == count - 1
        m.d.comb += [
            self.o.valid.eq(come == parts), self.o.payload.data.eq(word), self.o.payload.last.eq(last), taken.eq(self.o.valid & self.o.ready),
            self.i.ready.eq(~self.o.valid | self.o.ready), part.eq(self.i.valid & self.i.ready),
        ]  # fmt: skip
        with m.If(part):
            m.d.sync += word.eq(Cat(word, self.i.payload)[self.width :])
        m.d.sync += come.eq(Mux(taken, part, come + part))
        with m.If(taken):
            m.d.sync += number.eq(Mux(last, 0, number + 1))
        return m


class CyclicReader(wiring.Component):
    """Reads every region from its first to its last word, and again, in bursts into a queue for each; in turn, who has room for a burst.

    Room for all of a burst is kept before its first word is asked for: answers are always taken, so an engine that takes none delays no other.

    Throughput: a word of the memory a cycle but for `START` between two bursts, which a new row hides. Latency: of the memory. Full
    back-pressure on both sides.

    Parameters
    ----------
    regions : of all engines. memory : that they are in. cycles : of its controller.

    Members
    -------
    ask : Out, stream of `request_signature`; answer : In, of `answer_signature`: always ready. The tag is the number of the region.
    weights{k} : Out, stream of `word_signature`, for every region's engine k.
    go : In(1), a burst may begin. busy : Out(1), one is being asked for.
    """

    ask: stream.Interface
    answer: stream.Interface
    go: Signal
    busy: Signal

    def __init__(self, regions: list[Region], memory: Memory, cycles: Cycles):
        self.regions, self.memory = regions, memory
        self.burst = burst_words(len(regions), cycles)
        self.tag_bits = max(1, (len(regions) - 1).bit_length())
        super().__init__({
            "ask": Out(request_signature(memory, self.tag_bits)), "answer": In(answer_signature(memory, self.tag_bits)),
            **{f"{PORT}{region.number}": Out(word_signature(region.work)) for region in regions},
            "go": In(1), "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        regions, bits = self.regions, self.memory.address_bits
        # Whose turn it is; the next word of every region, and of the one whose burst it is; words that are still to be asked for.
        turn, address, left = Signal(range(max(2, len(regions)))), Signal(bits), Signal(range(self.burst))
        next_ = [Signal(bits, init=region.first, name=f"next_{region.number}") for region in regions]
        first, last = (Array(getattr(region, name) for region in regions)[turn] for name in ("first", "last"))
        begun, roomy = Signal(), Signal(len(regions))
        m.d.comb += self.answer.ready.eq(1)
        for k, region in enumerate(regions):
            begins = begun & (turn == k)
            m.d.comb += roomy[k].eq(self._queue(m, k, region, begins))
        over = Signal()  # to the next one
        with m.If(over):
            m.d.sync += turn.eq(Mux(turn == len(regions) - 1, 0, turn + 1))
        m.d.comb += [self.ask.payload.address.eq(address), self.ask.payload.tag.eq(turn)]
        with m.FSM():
            with m.State("TURN"):
                m.d.sync += [address.eq(Array(next_)[turn]), left.eq(self.burst - 1)]
                with m.If(self.go & roomy.bit_select(turn, 1)):
                    m.d.comb += begun.eq(1)
                    m.next = "BURST"
                with m.Else():
                    m.d.comb += over.eq(1)
            with m.State("BURST"):
                m.d.comb += [self.busy.eq(1), self.ask.valid.eq(1)]
                with m.If(self.ask.ready):
                    m.d.sync += [address.eq(Mux(address == last, first, address + 1)), left.eq(left - 1)]
                    with m.If(left == 0):
                        m.next = "KEEP"
            with m.State("KEEP"):
                with m.Switch(turn):
                    for k, place in enumerate(next_):
                        with m.Case(k):
                            m.d.sync += place.eq(address)
                m.d.comb += over.eq(1)
                m.next = "TURN"
        return m

    def _queue(self, m, k, region, begins):
        """Queue and lane words of a region. Whether there is room for a burst beside those that were begun."""
        width = self.memory.width
        m.submodules[f"queue{k}"] = queue = BlockRamQueue(width, QUEUE)
        m.submodules[f"words{k}"] = words = LaneWords(region, width)
        wiring.connect(m, queue.o, words.i)
        wiring.connect(m, words.o, wiring.flipped(getattr(self, f"{PORT}{region.number}")))
        # Of a queue, places that no word has or will have.
        room, taken = Signal(range(QUEUE + 1), init=QUEUE, name=f"room_{k}"), Signal(name=f"taken_{k}")
        m.d.comb += [
            queue.i.valid.eq(self.answer.valid & (self.answer.payload.tag == k)), queue.i.payload.eq(self.answer.payload.data),
            taken.eq(words.i.valid & words.i.ready),
        ]  # fmt: skip
        m.d.sync += room.eq(room + taken - Mux(begins, self.burst, 0))
        return room >= self.burst


def image_cycles(program: Program, plan: Plan, board: Board) -> float:
    """Cycles in which the board's memory gives all words of an image, with a row of its own for every burst, one for every row that begins
    in it, and refreshes; 0 if all weights are on the chip. Fewer where engines' words lie in one row, which only a few hundred bytes do."""
    memory = board.memory
    if memory is None or memory.timing is None or not external_works(program, plan):
        return 0.0
    found, cycles = regions(program, plan, memory.width), Cycles.of(memory.timing, board.core_hz)
    rows = 1 / burst_words(len(found), cycles) + 1 / (1 << memory.column_bits)
    return sum(region.size for region in found) * (1 + cycles.new_row * rows) / cycles.refreshed
