"""Reads an image of weights from the flash that a board's bitstream is in, after reset."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.loading.loader import BYTE, LOAD_BYTE, WeightLoader

WAKE, READ = 0xAB, 0x03  # release from power-down, in which an iCE40 leaves its flash; read from an address of 24 bits
ADDRESS_BITS = 24
SETTLE = 50e-6  # seconds until a flash that was woken listens, and up to twice that here; data sheets say 3 to 35 µs
FASTEST = 20_000_000  # clock of the flash in Hz: all take READ with it
LEAST_HALF = 3  # cycles: so long is a bit of the flash on its way here
TRIES = 3


def half_period(hz: int) -> int:
    """Cycles of this clock in which the flash's is high, and low."""
    return max(LEAST_HALF, -(-hz // (2 * FASTEST)))


class SpiFlash(wiring.Component):
    """Wakes a flash and sends what it holds to a `WeightLoader`; up to `TRIES` times, until the image is accepted. Then silence.

    SPI mode 0, one bit at a time. Throughput: a byte in 16 · `half_period` cycles. Full back-pressure: the flash's clock stops while a
    byte is not taken.

    Parameters
    ----------
    hz : of the clock. offset : of the image in the flash. size : bytes of the image.

    Members
    -------
    sck, cs, mosi : Out(1). miso : In(1). `cs` is low while the flash is selected.
    o : Out, stream of `LOAD_BYTE`. loaded : In(1), what the loader says of the image.
    busy : Out(1), from reset until an image was accepted or given up. failed : Out(1), it was given up; stays.
    """

    sck: Signal
    cs: Signal
    mosi: Signal
    miso: Signal
    o: stream.Interface
    loaded: Signal
    busy: Signal
    failed: Signal

    def __init__(self, *, hz: int, offset: int, size: int):
        if not 0 <= offset <= offset + size <= 1 << ADDRESS_BITS:
            raise ValueError(f"Flash must hold the image within 2**{ADDRESS_BITS} bytes, not at {offset} with {size}")
        self.offset, self.size = offset, size
        self.half = half_period(hz)
        # A power of two: a bit of a counter says that it is over.
        self.settle = 1 << (max(int(hz * SETTLE), WeightLoader.VERDICT + 2) - 1).bit_length()
        idle: Any = {"init": 1}  # the stubs know no init
        super().__init__({
            "sck": Out(1), "cs": Out(1, **idle), "mosi": Out(1), "miso": In(1), "o": Out(stream.Signature(LOAD_BYTE)),
            "loaded": In(1), "busy": Out(1), "failed": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        seen, miso = Signal(), Signal()  # a pin that knows nothing of our clock
        m.d.sync += [seen.eq(self.miso), miso.eq(seen)]
        phase, going, free, bit_end = Signal(range(2 * self.half)), Signal(), Signal(), Signal()
        bits = BYTE + ADDRESS_BITS
        bit, end = Signal(range(bits)), Signal()  # of a byte or a command, the highest first
        # Bytes that came, or cycles of a pause.
        count, ahead, anew = Signal(range(max(self.size, self.settle + 1))), Signal(), Signal()
        tries, waking = Signal(range(TRIES)), Signal()
        command = Array((READ << ADDRESS_BITS | self.offset) >> place & 1 for place in reversed(range(bits)))
        wake = Array(WAKE >> place & 1 for place in reversed(range(BYTE)))
        paused = count[self.settle.bit_length() - 1]
        # A byte stays where its bits came until it is taken.
        m.d.comb += free.eq(~self.o.valid | self.o.ready)
        m.d.comb += [self.busy.eq(1), bit_end.eq(going & (phase == 2 * self.half - 1)), end.eq(bit_end & (bit[:3] == BYTE - 1))]
        # Outputs come from registers: edges of a clock must be clean.
        m.d.sync += [self.sck.eq(going & (phase >= self.half)), self.mosi.eq(Mux(waking, wake[bit[:3]], command[bit]))]
        with m.If(going):
            m.d.sync += phase.eq(Mux(bit_end, 0, phase + 1))
        with m.If(bit_end):
            m.d.sync += [bit.eq(bit + 1), self.o.payload.byte.eq(Cat(miso, self.o.payload.byte))]
        with m.If(anew):
            m.d.sync += count.eq(0)
        with m.Elif(ahead):
            m.d.sync += count.eq(count + 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("WAKE"):
                m.d.comb += anew.eq(1)
                m.d.sync += [bit.eq(0), waking.eq(1), self.cs.eq(0)]
                m.next = "WAKING"
            with m.State("WAKING"):
                m.d.comb += going.eq(free)
                with m.If(end):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.comb += [ahead.eq(1), anew.eq(paused)]
                m.d.sync += self.cs.eq(self.sck == 0)
                with m.If(paused):
                    m.d.sync += [bit.eq(0), waking.eq(0), self.cs.eq(0)]
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += going.eq(free)
                with m.If(end & (bit == bits - 1)):
                    m.d.sync += self.o.payload.first.eq(1)
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += [going.eq(free), ahead.eq(end)]
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += self.o.payload.first.eq(0)
                with m.If(end):
                    m.d.sync += self.o.valid.eq(1)
                    with m.If(count == self.size - 1):
                        m.d.comb += anew.eq(1)
                        m.next = "VERDICT"
            with m.State("VERDICT"):
                # As long as a flash that was woken takes to settle: longer than the loader does.
                m.d.comb += [ahead.eq(1), anew.eq(self.o.valid)]
                m.d.sync += self.cs.eq(self.sck == 0)
                with m.If(paused):
                    m.d.sync += tries.eq(tries + 1)
                    m.next = "WAKE"
                    with m.If(self.loaded):
                        m.next = "DONE"
                    with m.Elif(tries == TRIES - 1):
                        m.d.sync += self.failed.eq(1)
                        m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.busy.eq(0)
        return m
