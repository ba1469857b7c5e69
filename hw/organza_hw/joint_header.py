"""The header of a joint with managed exponents: one beat in front of every image, with the exponent in channel 0.

A `HeaderWriter` stands behind the producer's output rows, a `HeaderReader` before the consumer's ring. A header looks like any
other beat; its other channels are 0, and so is `last`.
"""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from organza.exponents import MANTISSA_BITS
from organza_hw.exponents import EXPONENT
from organza_hw.joint import joint_signature


class HeaderWriter(wiring.Component):
    """Puts the exponent of every image in front of it.

    Latency: none; a header takes one beat, and the beats of its image wait until it has been taken. Full back-pressure; an
    exponent must not come later than the first beat of its image.

    Parameters
    ----------
    n : channels a beat. images : exponents that can wait.

    Members
    -------
    exponent : In, stream of exponents. i : In, stream of `joint_signature`. o : Out, the same with headers.
    """

    exponent: stream.Interface
    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, n, images):
        self.images = images
        shape = signed(MANTISSA_BITS)
        super().__init__({
            "exponent": In(stream.Signature(EXPONENT)), "i": In(joint_signature(shape, n)), "o": Out(joint_signature(shape, n)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=len(self.exponent.payload), depth=self.images)
        header = Signal(init=1)
        m.d.comb += [
            queue.w_data.eq(self.exponent.payload), queue.w_en.eq(self.exponent.valid), self.exponent.ready.eq(queue.w_rdy),
            queue.r_en.eq(header & self.o.valid & self.o.ready),
        ]  # fmt: skip
        with m.If(header):
            # Only together with the image, so that nothing is offered long before it.
            m.d.comb += [
                self.o.valid.eq(self.i.valid & queue.r_rdy),
                self.o.payload.data[0].eq(queue.r_data.as_signed()),
            ]
        with m.Else():
            m.d.comb += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload), self.i.ready.eq(self.o.ready)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += header.eq(~header & self.i.payload.last)
        return m


class HeaderReader(wiring.Component):
    """Takes the header of every image off a stream.

    Latency: none for beats; an exponent is at `exponent` in the cycle after its header was taken. Full back-pressure: a header
    is taken while there is room for its exponent.

    Parameters
    ----------
    n : channels a beat. images : exponents that can wait.

    Members
    -------
    i : In, stream of `joint_signature` with headers. o : Out, the same without. exponent : Out, stream of exponents.
    """

    i: stream.Interface
    o: stream.Interface
    exponent: stream.Interface

    def __init__(self, *, n, images):
        self.images = images
        shape = signed(MANTISSA_BITS)
        super().__init__({
            "i": In(joint_signature(shape, n)), "o": Out(joint_signature(shape, n)), "exponent": Out(stream.Signature(EXPONENT)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=len(self.exponent.payload), depth=self.images)
        header = Signal(init=1)
        m.d.comb += [
            queue.w_data.eq(self.i.payload.data[0]), queue.w_en.eq(header & self.i.valid),
            self.exponent.payload.eq(queue.r_data.as_signed()), self.exponent.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.exponent.ready),
            self.o.payload.eq(self.i.payload), self.o.valid.eq(self.i.valid & ~header),
            self.i.ready.eq(Mux(header, queue.w_rdy, self.o.ready)),
        ]  # fmt: skip
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += header.eq(~header & self.i.payload.last)
        return m
