"""Reads a stored bit stream, any few bits a cycle, and checks its sum."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from organza.codes.bitstream import CRC_BITS, BitStream
from organza_hw.lanes.dot import register
from organza_hw.rom import Rom, read_held


class BitReader(wiring.Component):
    """The bits of a `BitStream`, up to `most` a cycle, fewer than a word has.

    The first bits are there `LATENCY` cycles after reset, and never fewer than `most` from then on
    until the stream ends.

    Members
    -------
    bits : Out(most), the next bits, first one highest; zeros behind the end.
    ready : Out(1), they are there. take : In, how many of them are used up; only while `ready`.
    available : Out, bits there, at most those that remain. drained : Out(1), all have been taken.
    checked : Out(1), the check sum has been read, at most 2 cycles after the last payload word.
    intact : Out(1), with `checked`: it is right.
    """

    LATENCY = Rom.LATENCY + 2  # a word, its register, the window

    bits: Signal
    ready: Signal
    take: Signal
    available: Signal
    drained: Signal
    checked: Signal
    intact: Signal

    def __init__(self, stream: BitStream, *, most: int, file=None):
        if not 1 <= most < stream.word_bits:
            raise ValueError(
                f"BitReader must take between 1 and {stream.word_bits - 1} bits, not {most}"
            )
        self.stream, self.most = stream, most
        self.rom = Rom(width=stream.word_bits, words=stream.words.tolist(), file=file)
        super().__init__({
            "bits": Out(most), "ready": Out(1), "take": In(range(most + 1)),
            "available": Out(range(2 * stream.word_bits + 1)), "drained": Out(1), "checked": Out(1), "intact": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        width, payload = self.stream.word_bits, self.stream.payload_words
        padding = payload * width - self.stream.bits
        m.submodules.rom = rom = self.rom
        crc: Any = catalog.CRC32_ISO_HDLC(data_width=width).create()
        m.submodules.crc = crc
        window, held = Signal(2 * width), Signal(range(2 * width + 1))
        index = Signal(range(len(rom.words) + 1))  # words used up
        coming = Signal(Rom.LATENCY + 1)  # of the words behind, which have been asked for; the highest: `word` is word `index`
        read, accept, fetch = Signal(), Signal(), Signal()
        address = Signal(rom.address_bits)
        word = register(m, read_held(m, rom, address, fetch), enable=fetch)
        rest = Signal.like(held)
        m.d.comb += [
            read.eq(index >= payload),
            self.bits.eq(window[-self.most :]),
            self.ready.eq(read | (held >= self.most)),
            self.available.eq(held - Mux(read, padding, 0)),
            self.drained.eq(read & (self.available == 0)),
            self.checked.eq(index == payload + CRC_BITS // width),
            self.intact.eq(self.checked & crc.match_detected),
            rest.eq(held - self.take),
            # The check sum does not go through the window.
            accept.eq(coming[-1] & ~self.checked & (read | (rest <= width))),
            fetch.eq(accept | ~coming[-1]),
            crc.data.eq(word), crc.valid.eq(accept),
        ]  # fmt: skip
        with m.If(fetch):
            m.d.sync += [coming.eq(Cat(1, coming)), address.eq(address + 1)]
        left = (window << self.take)[: 2 * width]
        with m.If(accept & ~read):
            m.d.sync += [
                held.eq(rest + width),
                window.eq(left | (Cat(Const(0, width), word) >> rest)),
            ]
        with m.Else():
            m.d.sync += [held.eq(rest), window.eq(left)]
        with m.If(accept):
            m.d.sync += index.eq(index + 1)
        assert payload + CRC_BITS // width == len(rom.words)
        return m
