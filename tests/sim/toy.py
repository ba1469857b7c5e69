"""A generator-shaped component that is small enough to test the simulation tools with."""

from amaranth.hdl import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FAULTS", "Toy", "beat_layout"]

FAULTS = ("drop", "unstable", "retract", "value", "stuck", "extra", "duplicate")


def beat_layout(shape, n):
    return data.StructLayout({"data": data.ArrayLayout(shape, n), "last": 1})


class Toy(wiring.Component):
    """Adds ``add`` to every channel, then ``add`` again: two layers, so three joints.

    Each layer is a registered stage, so the latency is two cycles and the throughput one beat a cycle.
    ``fault`` names one way in which the second layer misbehaves at its beat number ``at``.
    """

    def __init__(self, shape, n, *, add=1, fault=None, at=3):
        assert fault is None or fault in FAULTS
        self.shape, self.n, self.add, self.fault, self.at = Shape.cast(shape), n, add, fault, at
        layout = beat_layout(shape, n)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def compute(self, beats):
        """``beats`` (integers, any shape) plus twice ``add``, wrapped to the shape."""
        width = self.shape.width
        offset = 1 << (width - 1) if self.shape.signed else 0
        return (beats + 2 * self.add + offset) % (1 << width) - offset

    def elaborate(self, platform):
        m = Module()
        layers = [_Layer(self.shape, self.n, self.add, fault, self.at) for fault in (None, self.fault)]
        m.submodules += layers
        wiring.connect(m, wiring.flipped(self.i), layers[0].i)
        wiring.connect(m, layers[0].o, layers[1].i)
        wiring.connect(m, layers[1].o, wiring.flipped(self.o))
        for k, joint in enumerate([layers[0].i, layers[1].i, layers[1].o]):
            for part, value in (("payload", Value.cast(joint.payload)), ("valid", joint.valid),
                                ("ready", joint.ready)):
                wire = Signal(value.shape(), name=f"joint{k}_{part}")
                m.d.comb += wire.eq(value)
        return m


class _Layer(wiring.Component):
    def __init__(self, shape, n, add, fault, at):
        self.n, self.add, self.fault, self.at = n, add, fault, at
        layout = beat_layout(shape, n)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        count = Signal(range(1 << 20))
        here = count == self.at
        again = Signal()  # the beat in the register is to be sent twice

        free = ~o.valid | (o.ready & ~again)
        with m.If(o.valid & o.ready & again):
            m.d.sync += again.eq(0)
        m.d.comb += i.ready.eq(free & ~(here if self.fault == "stuck" else 0))
        with m.If(free):
            m.d.sync += o.valid.eq(0)
        with m.If(i.valid & i.ready):
            m.d.sync += [count.eq(count + 1), o.valid.eq(1), o.p.last.eq(i.p.last)]
            m.d.sync += [o.p.data[c].eq(i.p.data[c] + self.add) for c in range(self.n)]
            match self.fault:
                case "drop":
                    with m.If(here):
                        m.d.sync += o.valid.eq(0)
                case "value":
                    with m.If(here):
                        m.d.sync += o.p.data[0].eq(i.p.data[0] + self.add + 1)
                case "duplicate":
                    with m.If(here):
                        m.d.sync += again.eq(1)
                case "extra":
                    with m.If(i.p.last):
                        m.d.sync += again.eq(1)
        match self.fault:
            case "unstable":
                with m.If(o.valid & ~o.ready & (count > self.at)):
                    m.d.sync += o.p.data[0].eq(o.p.data[0] + 1)
            case "retract":
                with m.If(o.valid & ~o.ready & (count > self.at)):
                    m.d.sync += o.valid.eq(~o.valid)
        return m
