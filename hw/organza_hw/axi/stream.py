"""AXI4-Stream words (Arm IHI 0051) and beats of a joint, and how the integers of a tensor lie in both.

A frame is a tensor, its bytes as `organza.host_protocol.tensor_bytes` has them: raster order, row, column, channel, an integer in one or two bytes,
the lowest first. The first byte is in the lowest bits of the first word. Words are as wide as a beat or up to twice as wide, so that neither
side of an adapter waits for the other.
"""

from dataclasses import dataclass
from math import gcd

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.schedule import ceil_div
from organza_hw.joint import joint_signature
from organza_hw.link.frames import BYTE

MOST_BYTES = 128  # of a word: 1,024 bits, the widest that AXI4-Stream interconnect takes


def axis_signature(size):
    """Stream of words of `size` bytes; `keep` has a bit for each, `last` is TLAST."""
    return stream.Signature(data.StructLayout({"data": BYTE * size, "keep": size, "last": 1}))


def least_word(what, size):
    """Bytes of a word that holds `size` of them: the least power of two. Raises ValueError, with `what` they are of, for too many."""
    if size > MOST_BYTES:
        raise ValueError(f"{what} of an AXI stream must have at most {MOST_BYTES} bytes, not {size}")
    return 1 << (size - 1).bit_length()


@dataclass(frozen=True)
class Framing:
    """How a tensor lies in words and in beats.

    shape : channels, height, width. element : Shape of an integer. n : integers of a beat.

    Raises ValueError if a beat is too wide for a word.
    """

    shape: tuple[int, int, int]
    element: Shape
    n: int

    def __post_init__(self):
        least_word("Beats", self.n * self.element_bytes)

    @property
    def element_bytes(self):
        """Bytes of an integer."""
        return ceil_div(self.element.width, BYTE)

    @property
    def word_bytes(self):
        """Bytes of a word."""
        return least_word("Beats", self.n * self.element_bytes)

    @property
    def word_elements(self):
        """Integers of a word."""
        return self.word_bytes // self.element_bytes

    @property
    def groups(self):
        """Beats of a pixel."""
        return ceil_div(self.shape[0], self.n)

    @property
    def rest(self):
        """Integers of the last beat of a pixel."""
        return self.shape[0] - (self.groups - 1) * self.n

    @property
    def pixels(self):
        """Of a tensor."""
        return self.shape[1] * self.shape[2]

    @property
    def words(self):
        """Of a frame."""
        return ceil_div(self.shape[0] * self.pixels, self.word_elements)

    @property
    def last_keep(self):
        """TKEEP of the last word of a frame."""
        elements = self.shape[0] * self.pixels - (self.words - 1) * self.word_elements
        return (1 << elements * self.element_bytes) - 1

    @property
    def all_keep(self):
        """TKEEP of other words."""
        return (1 << self.word_bytes) - 1

    @property
    def unit(self):
        """Integers that words and beats have whole numbers of: where a beat begins in a word is a multiple of it."""
        return gcd(self.word_elements, self.n, self.rest)

    def elements(self, word):
        """Integers of a word, narrow: bits that an integer does not have are dropped."""
        return Cat(word.word_select(k, BYTE * self.element_bytes)[: self.element.width] for k in range(self.word_elements))

    def word(self, elements):
        """Inverse of `elements`: integers are extended to whole bytes."""
        wide = Shape(BYTE * self.element_bytes, self.element.signed)
        return Cat(_extended(elements.word_select(k, self.element.width), self.element, wide) for k in range(self.word_elements))


def _extended(bits, element, wide):
    value = bits.as_signed() if element.signed else bits
    return Cat(value, (value[-1] if element.signed else Const(0)).replicate(wide.width - element.width))


class _Beats(wiring.Component):
    """Counts through the beats of a tensor, one with each `step`: whether it is the last of a pixel, or of all."""

    step: Signal
    tail: Signal
    end: Signal

    def __init__(self, framing):
        self.framing = framing
        super().__init__({"step": In(1), "tail": Out(1), "end": Out(1)})

    def elaborate(self, platform):
        m = Module()
        group, pixel = Signal(range(self.framing.groups)), Signal(range(self.framing.pixels))
        m.d.comb += [self.tail.eq(group == self.framing.groups - 1), self.end.eq(self.tail & (pixel == self.framing.pixels - 1))]
        with m.If(self.step):
            m.d.sync += group.eq(Mux(self.tail, 0, group + 1))
            with m.If(self.tail):
                m.d.sync += pixel.eq(Mux(self.end, 0, pixel + 1))
        return m


class BeatReader(wiring.Component):
    """Beats out of the words of whole frames.

    Latency: a beat is at `o` two cycles after its last word is taken. Throughput: a beat a cycle. Full back-pressure; `i.ready` is a register's.

    Parameters
    ----------
    framing : `Framing`.

    Members
    -------
    i : In, stream of the integers of a word, as of `Framing.elements`. o : Out, stream of `joint_signature`.
    """

    SLOTS = 3  # two for a beat that begins in one word and ends in the next, one that is filled meanwhile

    i: stream.Interface
    o: stream.Interface

    def __init__(self, framing):
        self.framing, self.beats = framing, _Beats(framing)
        super().__init__({
            "i": In(stream.Signature(framing.word_elements * framing.element.width)),
            "o": Out(joint_signature(framing.element, framing.n)),
        })  # fmt: skip

    def elaborate(self, platform):
        m, f = Module(), self.framing
        m.submodules.beats = beats = self.beats
        unit = f.unit * f.element.width
        word, beat = f.word_elements // f.unit, f.n // f.unit  # in units
        slots = [Signal(word * unit, name=f"slot{k}", reset_less=True) for k in range(self.SLOTS)]
        held, offset = Signal(range(self.SLOTS + 1)), Signal(range(word))
        size, after = Signal(range(beat + 1)), Signal(range(2 * word))
        both, take, left = Signal(), Signal(), Signal.like(held)
        m.d.comb += [
            size.eq(Mux(beats.tail, f.rest // f.unit, beat)), after.eq(offset + size), both.eq(after > word),
            take.eq(Mux(both, held >= 2, held != 0) & (~self.o.valid | self.o.ready)),
            beats.step.eq(take), left.eq(held), self.i.ready.eq(held != self.SLOTS),
        ]  # fmt: skip
        with m.If(take):
            m.d.sync += offset.eq(Mux(after >= word, after - word, after))
            m.d.comb += left.eq(held - (after >= word))
            with m.If(beats.end):
                # The rest of the last word is no part of the next frame.
                m.d.sync += offset.eq(0)
                m.d.comb += left.eq(held - 1 - both)
        m.d.sync += held.eq(left + (self.i.valid & self.i.ready))
        with m.Switch(held - left):
            for gone in (1, 2):
                with m.Case(gone):
                    m.d.sync += [slot.eq(behind) for slot, behind in zip(slots, slots[gone:], strict=False)]
        for k, slot in enumerate(slots):
            with m.If(self.i.valid & self.i.ready & (left == k)):
                m.d.sync += slot.eq(self.i.payload)

        window, chosen = Cat(slots[:2]), Signal(beat * unit)
        with m.Switch(offset):
            for k in range(word):
                with m.Case(k):
                    m.d.comb += chosen.eq(window[k * unit :])
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            rest = f.rest * f.element.width
            m.d.sync += [
                self.o.valid.eq(1), self.o.payload.last.eq(beats.end),
                self.o.payload.data.eq(Mux(beats.tail, chosen[:rest], chosen)),  # channels that a pixel does not have are zero
            ]  # fmt: skip
        return m


class BeatWriter(wiring.Component):
    """Words of frames out of beats.

    Latency: a word is at `o` in the cycle after the beat that fills it. Throughput: a beat a cycle, and a cycle more for a frame whose last
    beat is in two words. Full back-pressure. Bytes behind the end of a frame are zero, and not kept.

    Parameters
    ----------
    framing : `Framing`.

    Members
    -------
    i : In, stream of `joint_signature`. o : Out, stream of `axis_signature`.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, framing):
        self.framing, self.beats = framing, _Beats(framing)
        super().__init__({"i": In(joint_signature(framing.element, framing.n)), "o": Out(axis_signature(framing.word_bytes))})

    def elaborate(self, platform):
        m, f = Module(), self.framing
        m.submodules.beats = beats = self.beats
        unit = f.unit * f.element.width
        word, beat = f.word_elements // f.unit, f.n // f.unit  # in units
        kept, fill, more = Signal(word * unit), Signal(range(word)), Signal()  # of a word; whether it is the last, and waits
        merged, after = Signal(2 * word * unit), Signal(range(2 * word))
        free, take, put = Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready), self.i.ready.eq(free & ~more), take.eq(self.i.valid & self.i.ready), beats.step.eq(take),
            after.eq(fill + Mux(beats.tail, f.rest // f.unit, beat)), put.eq(more | (take & ((after >= word) | beats.end))),
        ]  # fmt: skip
        # What a beat does not have is zero, so that a word is zero behind its end.
        with m.Switch(fill):
            for k in range(word):
                with m.Case(k):
                    m.d.comb += merged.eq(Cat(kept[: k * unit], self.i.payload.data))
        with m.If(more):
            m.d.comb += merged.eq(kept)
        last = Signal()
        m.d.comb += last.eq(more | (beats.end & (after <= word)))
        with m.If(free):
            m.d.sync += self.o.valid.eq(put)
            with m.If(put):
                m.d.sync += [
                    self.o.payload.data.eq(f.word(merged[: word * unit])), self.o.payload.last.eq(last),
                    self.o.payload.keep.eq(Mux(last, f.last_keep, f.all_keep)), more.eq(0),
                ]  # fmt: skip
        with m.If(take):
            m.d.sync += [fill.eq(Mux(after >= word, after - word, after)), kept.eq(Mux(after >= word, merged[word * unit :], merged[: word * unit]))]
            with m.If(beats.end):
                m.d.sync += [fill.eq(0), more.eq(after > word)]
        return m
