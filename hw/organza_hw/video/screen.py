"""A screen at an accelerator's output: from beats to bits on four lines."""

from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.program import Program
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.video.frame_buffer import FrameBuffer
from organza_hw.video.gallery import Gallery
from organza_hw.video.pixels import BYTE, Pixels, pixel_channels
from organza_hw.video.serializer import Serializer
from organza_hw.video.timing import VGA
from organza_hw.video.tmds import SYMBOL, TmdsEncoder

CHANNELS = 3  # blue with the syncs, green, red; the fourth line is the clock
CLOCK = (1 << SYMBOL // 2) - 1


class Screen(wiring.Component):
    """Shows the images of an accelerator, each for `frames` frames or longer; the accelerator waits.

    Domains: "sync" of the accelerator, "pixel" of `timing.PIXEL_HZ`, "shift" five times as fast, the last two from one source.

    Parameters
    ----------
    n : integers of a beat of the output. frames : at least 1.

    Members
    -------
    i : In, stream of `joint_signature`, with full back-pressure. pairs : Out, in "shift", of channels 0 to 2 and the clock, see `Serializer`.
    """

    i: stream.Interface
    pairs: Any

    def __init__(self, program: Program, n, frames, mode=VGA):
        channels, (_, height, width) = pixel_channels(program), program.output_shape
        # Before other components: it refuses images that are too large.
        self.gallery = Gallery((channels, height, width), mode)
        self.pixels = Pixels(program, n)
        self.buffer = FrameBuffer(height * width, BYTE * channels, frames)
        self.serializer = Serializer(CHANNELS + 1)
        super().__init__({
            "i": In(joint_signature(wire_shape(program.output), n)), "pairs": Out(data.ArrayLayout(2, CHANNELS + 1)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.pixels, m.submodules.buffer, m.submodules.serializer = pixels, buffer, serializer = self.pixels, self.buffer, self.serializer
        gallery = self.gallery
        m.submodules.gallery = DomainRenamer("pixel")(gallery)
        wiring.connect(m, wiring.flipped(self.i), pixels.i)
        wiring.connect(m, pixels.o, buffer.i)
        m.d.comb += [
            buffer.address.eq(gallery.address), gallery.data.eq(buffer.data), gallery.live.eq(buffer.live), buffer.blank.eq(gallery.blank),
            serializer.words[CHANNELS].eq(CLOCK), self.pairs.eq(serializer.pairs),
        ]  # fmt: skip
        syncs = gallery.syncs
        for k in range(CHANNELS):
            encoder = TmdsEncoder()
            m.submodules[f"encoder_{k}"] = DomainRenamer("pixel")(encoder)
            m.d.comb += [
                encoder.seen.eq(syncs.seen), encoder.byte.eq(gallery.colour.word_select(CHANNELS - 1 - k, BYTE)),
                encoder.control.eq(0 if k else Cat(syncs.hsync, syncs.vsync)), serializer.words[k].eq(encoder.symbol),
            ]  # fmt: skip
        return m
