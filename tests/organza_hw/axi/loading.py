"""An accelerator whose weights are loaded, as the AXI top sees it: what stands between is the same, whatever is loaded."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.loading.loader import LOAD_BYTE

LENGTH = 7  # bytes of an image, the last of which is the sum of the others
REFUSAL = 5


def image(seed: int) -> bytes:
    """A right one."""
    octets = bytes((seed * 37 + 11 * k) % 256 for k in range(LENGTH - 1))
    return octets + bytes([sum(octets) % 256])


class Loading(wiring.Component):
    """A pipeline that is in reset until an image has come, and from the first byte of another one on. It takes a byte every third cycle."""

    i: stream.Interface
    o: stream.Interface
    load: stream.Interface
    error: Signal
    loaded: Signal
    refusal: Signal
    image: Signal

    def __init__(self, pipeline):
        self.pipeline = pipeline
        super().__init__({
            "i": In(pipeline.i.signature.flip()), "o": Out(pipeline.o.signature), "error": Out(len(pipeline.error)),
            "load": In(stream.Signature(LOAD_BYTE)), "loaded": Out(1), "refusal": Out(3), "image": Out(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        hold, whole = Signal(init=1), Signal()
        place, total, turn = Signal(range(LENGTH + 1), init=LENGTH), Signal(8), Signal(range(3))
        held: Any = ResetInserter(hold)
        m.submodules.pipeline = held(self.pipeline)
        inner, i, o = self.pipeline, self.i, self.o
        m.d.sync += [hold.eq(~whole), turn.eq(Mux(turn == 2, 0, turn + 1))]
        m.d.comb += [
            inner.i.payload.eq(i.payload), inner.i.valid.eq(i.valid & ~hold), i.ready.eq(inner.i.ready & ~hold),
            o.payload.eq(inner.o.payload), o.valid.eq(inner.o.valid & ~hold), inner.o.ready.eq(o.ready),
            self.error.eq(inner.error), self.loaded.eq(whole & ~hold), self.load.ready.eq(turn == 0),
        ]  # fmt: skip
        byte, first = self.load.payload.byte, self.load.payload.first
        with m.If(self.load.valid & self.load.ready):
            with m.If(first):
                m.d.sync += [place.eq(1), total.eq(byte), whole.eq(0), self.refusal.eq(0), self.image.eq(byte)]
            with m.Elif(place != LENGTH):
                m.d.sync += [place.eq(place + 1), total.eq(total + byte), self.image.eq(Cat(byte, self.image))]
                with m.If(place == LENGTH - 1):
                    m.d.sync += [whole.eq(total == byte), self.refusal.eq(Mux(total == byte, 0, REFUSAL))]
        return m
