"""Two pictures: one that is shown, and one that is being written."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from organza.checks import check_integer
from organza_hw.block_ram import block_ram

MOST_FRAMES = 1 << 16


class FrameBuffer(wiring.Component):
    """Pictures from a stream in the domain "sync", and the newest of them for a screen in the domain "pixel".

    A picture is written where none is shown. When it is complete, it is shown from the next `blank` on at which the one before has been there
    for `frames` of them; until then the stream waits. Domains tell each other only how many pictures there were, modulo two, through
    synchronizers: a picture has been in the memory for at least two clocks of the reader when that learns of it, and the reader has gone
    to the other for as long when the writer does.

    Latency: `data` follows `address` by `LATENCY` "pixel" clocks. Throughput: a word each "sync" clock, until a picture is complete;
    full back-pressure.

    Parameters
    ----------
    words : of a picture. width : bits of a word. frames : least number of frames that a picture is shown, at least 1.

    Members
    -------
    i : In, stream of words, pictures one after the other. blank : In(1), one "pixel" clock in every frame, `LATENCY` or more after its last
    address. address : In. data : Out(width). live : Out(1), there is a picture.
    """

    LATENCY = 2

    i: stream.Interface
    blank: Signal
    address: Signal
    data: Signal
    live: Signal

    def __init__(self, words, width, frames):
        check_integer("FrameBuffer words", words, 1, 1 << 20)
        check_integer("FrameBuffer frames", frames, 1, MOST_FRAMES)
        self.words, self.width, self.frames = words, width, frames
        super().__init__({
            "i": In(stream.Signature(width)), "blank": In(1), "address": In(range(words)), "data": Out(width), "live": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        place_bits = (self.words - 1).bit_length()
        m.submodules.pictures = pictures = block_ram(self.width, 2 << place_bits)
        written, written_seen, shown, shown_seen = Signal(), Signal(), Signal(), Signal()  # pictures modulo two, and as the other side knows
        m.submodules.written = FFSynchronizer(written, written_seen, o_domain="pixel")
        m.submodules.shown = FFSynchronizer(shown, shown_seen, o_domain="sync")

        # A picture that is written bears the number of the next one: the lowest bit of that is its half of the memory.
        port, place = pictures.write_port(domain="sync"), Signal(range(self.words))
        m.d.comb += [
            self.i.ready.eq(written == shown_seen),
            port.en.eq(self.i.valid & self.i.ready), port.addr.eq(Cat(place[:place_bits], ~written)), port.data.eq(self.i.payload),
        ]  # fmt: skip
        with m.If(port.en):
            m.d.sync += place.eq(place + 1)
            with m.If(place == self.words - 1):
                m.d.sync += [place.eq(0), written.eq(~written)]

        reader, age = pictures.read_port(domain="pixel"), Signal(range(self.frames))  # frames that it is still to be shown
        m.d.comb += [reader.addr.eq(Cat(self.address[:place_bits], shown)), reader.en.eq(1)]
        late = Signal(self.width, reset_less=True)
        m.d.pixel += late.eq(reader.data)
        m.d.comb += self.data.eq(late)
        with m.If(self.blank):
            with m.If(age != 0):
                m.d.pixel += age.eq(age - 1)
            with m.Elif(written_seen != shown):
                m.d.pixel += [shown.eq(~shown), self.live.eq(1), age.eq(self.frames - 1)]
        return m
