"""Pixels out of what an accelerator gives."""

import numpy as np
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.brightness import to_bytes
from organza.formats import Sign
from organza.host_protocol import element_bytes
from organza.program import Program
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.link.beat_bytes import BeatUnpacker
from organza_hw.rom import Rom

BYTE = 8
COLOURS = 3


def pixel_channels(program: Program) -> int:
    """3 for outputs of three channels, of others the first is grey; see `organza.brightness.screen_channels`."""
    return COLOURS if program.output_shape[0] == COLOURS else 1


def order(form) -> int:
    """Bits of an integer on the wires that are to be inverted for unsigned numbers to rise as integers do."""
    if isinstance(form, Sign):
        return 1
    return 1 << form.bits - 1 if form.signed else 0


def thresholds(program: Program) -> list[int]:
    """For each byte but 0, the least of the wires' numbers, made to rise by `order`, that is at least so bright; one more than the highest where none is."""
    form = program.output
    wires = np.arange(1 << form.bits) ^ order(form)
    values = form.from_wire(wires - ((wires >> form.bits - 1) << form.bits) if form.signed else wires)
    return np.searchsorted(to_bytes(program, form.dequantize(values)), np.arange(1, 1 << BYTE)).tolist()


class Pixels(wiring.Component):
    """Bytes of pixels, as `organza.brightness.to_bytes` has them, out of beats.

    The byte of an integer is found from the highest bit down, each by one comparison with a table: any format of up to 16 bits takes 256 words.

    Latency and throughput: an integer takes `BYTE` times `STEP` cycles, one for each of its own bytes and one more; a pixel one more than its integers. Full
    back-pressure.

    Parameters
    ----------
    n : integers of a beat of the output.

    Members
    -------
    i : In, stream of `joint_signature`. o : Out, stream of a pixel: a byte of grey, or of red, green and blue, red lowest.
    """

    STEP = Rom.LATENCY + 1

    i: stream.Interface
    o: stream.Interface

    def __init__(self, program: Program, n):
        form = program.output
        self.form, self.shape, self.channels = form, program.output_shape, pixel_channels(program)
        self.unpacker = BeatUnpacker(self.shape, wire_shape(form), n)
        self.table = Rom(width=form.bits + 1, words=[0, *thresholds(program)])
        super().__init__({"i": In(joint_signature(wire_shape(form), n)), "o": Out(stream.Signature(BYTE * self.channels))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unpacker, m.submodules.table = unpacker, table = self.unpacker, self.table
        wiring.connect(m, wiring.flipped(self.i), unpacker.i)
        size = element_bytes(self.form)
        wire, number = Signal(BYTE * size), Signal(range(size))
        key = wire[: self.form.bits] ^ order(self.form)
        channel = Signal(range(self.shape[0]))
        found, bit, wait = Signal(BYTE), Signal(BYTE), Signal(self.STEP)
        m.d.comb += table.addr.eq(found | bit)
        with m.FSM():
            with m.State("BYTES"):
                m.d.comb += unpacker.o.ready.eq(1)
                with m.If(unpacker.o.valid):
                    m.d.sync += [wire.eq(Cat(wire[BYTE:], unpacker.o.payload)), number.eq(number + 1)]
                    with m.If(number == size - 1):
                        m.d.sync += [number.eq(0), found.eq(0), bit.eq(1 << BYTE - 1), wait.eq(1)]
                        m.next = "SEARCH"
            with m.State("SEARCH"):
                m.d.sync += wait.eq(wait.rotate_left(1))
                with m.If(wait[-1]):
                    m.d.sync += bit.eq(bit >> 1)
                    with m.If(key >= table.data):
                        m.d.sync += found.eq(found | bit)
                    with m.If(bit[0]):
                        m.next = "FOUND"
            with m.State("FOUND"):
                m.d.sync += channel.eq(Mux(channel == self.shape[0] - 1, 0, channel + 1))
                with m.If(channel < self.channels):
                    m.d.sync += self.o.payload.eq(Cat(self.o.payload[BYTE:], found))
                m.next = "BYTES"
                with m.If(channel == self.channels - 1):
                    m.next = "PIXEL"
            with m.State("PIXEL"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "BYTES"
        return m
