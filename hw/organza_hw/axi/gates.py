"""What stands between the streams outside and an accelerator that may be reset: outside, no handshake is broken and no frame left open."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.axi.stream import axis_signature


class InputGate(wiring.Component):
    """Lets words through; of a frame that a reset cuts, the rest is dropped.

    Latency 0, full throughput. Nothing is taken during a reset.

    Parameters
    ----------
    size : bytes of a word.

    Members
    -------
    i : In, o : Out, streams of `axis_signature`.
    reset : In(1), while it is high. abandon : In(1), the frame that has begun will not go on: what comes next begins another one.
    open : Out(1), a frame has begun and not ended.
    """

    i: stream.Interface
    o: stream.Interface
    reset: Signal
    abandon: Signal
    open: Signal

    def __init__(self, size):
        super().__init__({
            "i": In(axis_signature(size)), "o": Out(axis_signature(size)), "reset": In(1), "abandon": In(1), "open": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        skip = Signal()
        m.d.comb += [
            self.o.payload.eq(self.i.payload), self.o.valid.eq(self.i.valid & ~skip & ~self.reset),
            self.i.ready.eq((skip | self.o.ready) & ~self.reset),
        ]  # fmt: skip
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.open.eq(~self.i.payload.last)
            with m.If(self.i.payload.last):
                m.d.sync += skip.eq(0)
        with m.If(self.reset):
            m.d.sync += skip.eq(self.open)
        with m.If(self.abandon):
            m.d.sync += [skip.eq(0), self.open.eq(0)]
        return m


class OutputGate(wiring.Component):
    """Lets words through; a frame that a reset cuts is ended by a word that keeps no byte, behind the one that is offered.

    Such a frame has fewer bytes than an output. A word that is offered stays until it is taken, whatever is reset.

    Latency: a cycle. Throughput: a word a cycle. Full back-pressure; `i.ready` comes from registers. Nothing is taken during a reset.

    Parameters
    ----------
    size : bytes of a word.

    Members
    -------
    i : In, o : Out, streams of `axis_signature`. reset : In(1), while it is high.
    open : Out(1), a frame has begun and not ended. sent : Out(1), for a cycle: a frame has left whole, and began after the last reset.
    """

    i: stream.Interface
    o: stream.Interface
    reset: Signal
    open: Signal
    sent: Signal

    def __init__(self, size):
        super().__init__({
            "i": In(axis_signature(size)), "o": Out(axis_signature(size)), "reset": In(1), "open": Out(1), "sent": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        spare, waits = Signal.like(self.i.payload), Signal()  # a word, because who takes it is asked too late
        begun = Signal()  # the word that is offered, or was last, does not end its frame
        cut, old = Signal(), Signal()  # the frame must be ended; the word that is offered is from before a reset
        free, came = Signal(), Signal()
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready), came.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(~waits & ~cut & ~self.reset), self.open.eq(self.o.valid | begun),
        ]  # fmt: skip
        m.d.sync += self.sent.eq(self.o.valid & self.o.ready & self.o.payload.last & ~old)
        with m.If(free):
            m.d.sync += self.o.valid.eq(0)
            with m.If(cut):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.data.eq(0), self.o.payload.keep.eq(0), self.o.payload.last.eq(1)]
                m.d.sync += [cut.eq(0), begun.eq(0), old.eq(1)]
            with m.Elif((waits | came) & ~self.reset):
                chosen = Mux(waits, spare, self.i.payload)
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(chosen), waits.eq(0), old.eq(0)]
                m.d.sync += begun.eq(Mux(waits, ~spare.last, ~self.i.payload.last))
        with m.Elif(came):
            m.d.sync += [spare.eq(self.i.payload), waits.eq(1)]
        with m.If(self.reset):
            m.d.sync += waits.eq(0)
            with m.If(begun & ~cut):
                m.d.sync += cut.eq(1)
            with m.If(~free):
                m.d.sync += old.eq(1)
        return m
