"""Inputs are kept until they are whole: what has a wrong length never reaches the accelerator."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.axi.stream import axis_signature
from organza_hw.block_ram import block_ram
from organza_hw.lanes.dot import register
from organza_hw.rom import read_held


class FrameStore(wiring.Component):
    """Words of whole frames; others are dropped.

    A frame has a word with TLAST at its end and nowhere else, TKEEP in all bytes but those behind the end of its last word. One that ends early
    is dropped then, one that is too long with all that follows up to TLAST.

    Latency: `LATENCY` cycles from the last word of a frame to its first at `o`. Throughput: a word a cycle; a frame is taken while the one before it is
    given. Full back-pressure; `i.ready` comes from registers.

    Parameters
    ----------
    framing : `Framing`.

    Members
    -------
    i : In, stream of `axis_signature`. o : Out, stream of the integers of a word, as of `Framing.elements`.
    taken : Out(1), a whole frame has come. short, long : Out(1), one was refused. Each for a cycle.
    """

    LATENCY = 3
    FRAMES = 2

    i: stream.Interface
    o: stream.Interface
    taken: Signal
    short: Signal
    long: Signal

    def __init__(self, framing):
        self.framing = framing
        super().__init__({
            "i": In(axis_signature(framing.word_bytes)), "o": Out(stream.Signature(framing.word_elements * framing.element.width)),
            "taken": Out(1), "short": Out(1), "long": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m, f = Module(), self.framing
        m.submodules.words = words = block_ram(len(self.o.payload), self.FRAMES * f.words)
        write, read = words.write_port(), words.read_port()
        frames = Signal(range(self.FRAMES + 1))
        skip = Signal()  # up to the next TLAST
        place, bank, base = self._place(m, f.words, "in")
        i, came, at_end, wanted = self.i.payload, Signal(), Signal(), Signal(f.word_bytes)
        short, long, whole = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(skip | (frames != self.FRAMES)), came.eq(self.i.valid & self.i.ready & ~skip),
            at_end.eq(place == f.words - 1), wanted.eq(Mux(at_end, f.last_keep, f.all_keep)),
            short.eq((i.last & ~at_end) | (wanted & ~i.keep).any()), long.eq((at_end & ~i.last) | (i.keep & ~wanted).any()),
            whole.eq(came & at_end & ~short & ~long),
            write.addr.eq(base + place), write.data.eq(f.elements(i.data)), write.en.eq(came),
        ]  # fmt: skip
        m.d.sync += [self.taken.eq(whole), self.short.eq(came & short), self.long.eq(came & long)]
        with m.If(came):
            m.d.sync += place.eq(place + 1)
            with m.If(short | long):
                m.d.sync += [place.eq(0), skip.eq(~i.last)]
            with m.Elif(at_end):
                m.d.sync += [place.eq(0), bank.eq(~bank)]
        with m.Elif(self.i.valid & i.last):
            m.d.sync += skip.eq(0)

        place, bank, base = self._place(m, f.words, "out")
        moves, some, given = Signal(), Signal(), Signal()
        there = [Signal(name=f"there{k}") for k in range(2)]  # behind the memory, and behind its output register
        m.d.comb += [
            some.eq(frames != 0), moves.eq(~self.o.valid | self.o.ready), given.eq(some & moves & (place == f.words - 1)),
            self.o.valid.eq(there[-1]),
        ]  # fmt: skip
        held = SimpleNamespace(addr=read.addr, data=register(m, read.data, reset=False))
        m.d.comb += self.o.payload.eq(read_held(m, held, base + place, moves))
        with m.If(moves):
            m.d.sync += Cat(there).eq(Cat(some, there))
            with m.If(some):
                m.d.sync += place.eq(place + 1)
        with m.If(given):
            m.d.sync += [place.eq(0), bank.eq(~bank)]
        m.d.sync += frames.eq(frames + whole - given)
        return m

    @staticmethod
    def _place(m, words, side):
        """Number of a word in its frame, in which half of the memory that lies, and where it begins."""
        place, bank = Signal(range(words), name=f"place_{side}"), Signal(name=f"bank_{side}")
        return place, bank, Mux(bank, words, 0)
