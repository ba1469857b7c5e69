"""Bytes over a serial line: one start bit, eight bits with the lowest first, no parity, one stop bit."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from organza.checks import check_integer

BITS = 8
LEAST_DIVISOR = 4  # the beginning of a bit is seen up to a cycle late: with fewer, that is too far from its middle
MOST_DIVISOR = (1 << 24) - 1
RECEIVED = data.StructLayout({"byte": BITS, "broken": 1})


class UartReceiver(wiring.Component):
    """The bytes of a line.

    Every bit is looked at once, in its middle, the start bit too: a shorter pulse is no byte. After a byte without a
    stop bit, another begins only when the line has been high.

    Latency: a byte is at `o` `latency` cycles after the first cycle in which `rx` is low. Throughput: the next start
    bit may come right behind the middle of a stop bit. No back-pressure: who listens takes the byte at once.

    Parameters
    ----------
    divisor : clock cycles of a bit, at least `LEAST_DIVISOR`.

    Members
    -------
    rx : In(1), from another clock. o : Out, stream of `RECEIVED` that is always ready, valid for one cycle; with
    `broken` there was no stop bit, and the byte is what the line was.
    """

    SYNCHRONIZER = 2

    rx: Signal
    o: stream.Interface

    def __init__(self, divisor):
        check_integer("UartReceiver divisor", divisor, LEAST_DIVISOR, MOST_DIVISOR)
        self.divisor = divisor
        self.latency = self.SYNCHRONIZER + divisor // 2 + (1 + BITS) * divisor + 1
        super().__init__({
            "rx": In(1, init=1),  # pyright: ignore[reportCallIssue] (the stubs know no init)
            "o": Out(stream.Signature(RECEIVED, always_ready=True)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        line, byte = Signal(init=1), Signal(BITS)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1, stages=self.SYNCHRONIZER)
        timer, middle = Signal(range(self.divisor)), Signal()
        bit = Signal(range(BITS))
        m.d.comb += [middle.eq(timer == 0), self.o.payload.byte.eq(byte)]
        m.d.sync += [self.o.valid.eq(0), timer.eq(Mux(middle, self.divisor - 1, timer - 1))]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += timer.eq(self.divisor // 2 - 1)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"), m.If(middle):
                m.d.sync += bit.eq(0)
                m.next = "IDLE"
                with m.If(~line):
                    m.next = "BITS"
            with m.State("BITS"), m.If(middle):
                m.d.sync += [byte.eq(Cat(byte[1:], line)), bit.eq(bit + 1)]
                with m.If(bit == BITS - 1):
                    m.next = "STOP"
            with m.State("STOP"), m.If(middle):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.broken.eq(~line)]
                m.next = "BROKEN"
                with m.If(line):
                    m.next = "IDLE"
            with m.State("BROKEN"), m.If(line):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes onto a line.

    Latency: the start bit is on `tx` in the cycle after the one that takes the byte. Throughput: a byte in 10 bits,
    without a gap while bytes are there. Back-pressure: a byte is taken in the last cycle of the stop bit before it, or
    when nothing is sent.

    Parameters
    ----------
    divisor : clock cycles of a bit, at least `LEAST_DIVISOR`.

    Members
    -------
    i : In, stream of bytes. tx : Out(1), a register, high while nothing is sent.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, divisor):
        check_integer("UartTransmitter divisor", divisor, LEAST_DIVISOR, MOST_DIVISOR)
        self.divisor = divisor
        super().__init__({
            "i": In(stream.Signature(BITS)),
            "tx": Out(1, init=1),  # pyright: ignore[reportCallIssue] (the stubs know no init)
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        line = Signal(1 + BITS, init=-1)  # bits to come, the lowest on the line; the stop bit is what moves in
        timer, left = (
            Signal(range(self.divisor)),
            Signal(range(2 + BITS)),
        )  # cycles of the bit, and bits, behind this one
        m.d.comb += [self.i.ready.eq((timer == 0) & (left == 0)), self.tx.eq(line[0])]
        with m.If(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [line.eq(Cat(line[1:], 1)), left.eq(left - 1), timer.eq(self.divisor - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [line.eq(Cat(0, self.i.payload)), left.eq(1 + BITS), timer.eq(self.divisor - 1)]
        return m
