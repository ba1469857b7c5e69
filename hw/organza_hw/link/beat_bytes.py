"""Bytes of tensors to beats of a joint and back; see `organza.host_protocol`."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.schedule import ceil_div
from organza_hw.joint import joint_signature
from organza_hw.link.frames import BYTE


class _Places(wiring.Component):
    """Counts through the integers of a tensor, one with each `step`: its place in a beat, and whether it is the last of that or of all."""

    step: Signal
    place: Signal
    beat_end: Signal
    end: Signal

    def __init__(self, shape, n):
        self.channels, self.pixels, self.n = shape[0], shape[1] * shape[2], n
        super().__init__({"step": In(1), "place": Out(range(n)), "beat_end": Out(1), "end": Out(1)})

    def elaborate(self, platform):
        m = Module()
        channel, pixel = Signal(range(self.channels)), Signal(range(self.pixels))
        pixel_end = channel == self.channels - 1
        m.d.comb += [
            self.beat_end.eq((self.place == self.n - 1) | pixel_end),
            self.end.eq(pixel_end & (pixel == self.pixels - 1)),
        ]
        with m.If(self.step):
            m.d.sync += [
                channel.eq(Mux(pixel_end, 0, channel + 1)),
                self.place.eq(Mux(self.beat_end, 0, self.place + 1)),
            ]
            with m.If(pixel_end):
                m.d.sync += pixel.eq(Mux(self.end, 0, pixel + 1))
        return m


class BeatPacker(wiring.Component):
    """Beats out of bytes.

    Latency: a beat is there in the cycle after its last byte. Throughput: a byte a cycle, and a cycle more for a beat. Full
    back-pressure.

    Parameters
    ----------
    shape : channels, height, width. element : Shape of an integer, whose bytes come lowest first. n : integers of a beat.

    Members
    -------
    i : In, stream of bytes. end : Out(1), the byte at `i` is the last of the tensor. o : Out, stream of `joint_signature`.
    """

    i: stream.Interface
    end: Signal
    o: stream.Interface

    def __init__(self, shape, element, n):
        self.places, self.element, self.n = _Places(shape, n), Shape.cast(element), n
        super().__init__({"i": In(stream.Signature(BYTE)), "end": Out(1), "o": Out(joint_signature(element, n))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.places = places = self.places
        size = ceil_div(self.element.width, BYTE)
        low, number = Signal(BYTE * size), Signal(range(size))
        taken, whole = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid), taken.eq(self.i.valid & self.i.ready), whole.eq(number == size - 1),
            places.step.eq(taken & whole), self.end.eq(places.end & whole),
        ]  # fmt: skip
        value = Cat(low[BYTE:], self.i.payload)[: self.element.width]
        with m.If(taken):
            m.d.sync += [low.eq(Cat(low[BYTE:], self.i.payload)), number.eq(Mux(whole, 0, number + 1))]
            with m.If(whole):
                m.d.sync += [self.o.payload.data.as_value().word_select(places.place, self.element.width).eq(value)]
                m.d.sync += [self.o.valid.eq(places.beat_end), self.o.payload.last.eq(places.end)]
        with m.If(self.o.valid & self.o.ready):
            # Places of channels that a pixel does not have are zero.
            m.d.sync += [self.o.valid.eq(0), self.o.payload.data.eq(0)]
        return m


class BeatUnpacker(wiring.Component):
    """Bytes out of beats, without the places of channels that a pixel does not have.

    Latency: a cycle. Throughput: a byte a cycle, and a cycle more for a beat. Full back-pressure.

    Parameters
    ----------
    shape, element, n : as of `BeatPacker`; integers are extended to whole bytes.

    Members
    -------
    i : In, stream of `joint_signature`. o : Out, stream of bytes. end : Out(1), the byte at `o` is the last of the tensor.
    """

    i: stream.Interface
    o: stream.Interface
    end: Signal

    def __init__(self, shape, element, n):
        self.places, self.element, self.n = _Places(shape, n), Shape.cast(element), n
        super().__init__({"i": In(joint_signature(element, n)), "o": Out(stream.Signature(BYTE)), "end": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.places = places = self.places
        width, size = self.element.width, ceil_div(self.element.width, BYTE)
        beat, there, number = Signal(width * self.n), Signal(), Signal(range(size))
        wide = Signal(Shape(BYTE * size, self.element.signed))
        element = beat[:width]
        moved, whole = Signal(), Signal()
        m.d.comb += [
            wide.eq(element.as_signed() if self.element.signed else element),
            whole.eq(number == size - 1), moved.eq(there & self.o.ready),
            self.o.valid.eq(there), self.o.payload.eq(wide.word_select(number, BYTE)), self.end.eq(places.end & whole),
            self.i.ready.eq(~there), places.step.eq(moved & whole),
        ]  # fmt: skip
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [beat.eq(self.i.payload.data), there.eq(1)]
        with m.If(moved):
            m.d.sync += number.eq(Mux(whole, 0, number + 1))
            with m.If(whole):
                m.d.sync += [beat.eq(beat[width:]), there.eq(~places.beat_end)]
        return m
