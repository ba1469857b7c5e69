"""A generator-shaped component that is small enough to test the simulation tools with."""

from amaranth.hdl import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FAULTS", "Toy", "beat_layout"]

# How a faulty toy can misbehave, and the value of channel 0 in an input beat that makes it do so.
FAULTS = {fault: 101 + k for k, fault in enumerate(
    ("drop", "duplicate", "value", "unstable", "retract", "stuck"))}


def beat_layout(shape, n):
    return data.StructLayout({"data": data.ArrayLayout(shape, n), "last": 1})


class Toy(wiring.Component):
    """Adds ``add`` to every channel, then ``add`` again: two layers, so three joints.

    Each layer is a registered stage, so the latency is two cycles and the throughput one beat a
    cycle. A ``faulty`` toy has a second layer that misbehaves when it meets one of the values in
    ``FAULTS``, so that one compilation serves the test of every fault. It needs channels of 7 bits
    or more.
    """

    LATENCY = 2

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape, n, *, add=1, faulty=False):
        self.shape, self.n, self.add, self.faulty = Shape.cast(shape), n, add, faulty
        layout = beat_layout(shape, n)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def compute(self, beats):
        """``beats`` (integers, any shape) plus twice ``add``, wrapped to the shape."""
        width = self.shape.width
        offset = 1 << (width - 1) if self.shape.signed else 0
        return (beats + 2 * self.add + offset) % (1 << width) - offset

    def elaborate(self, platform):
        m = Module()
        layers = [_Layer(self.shape, self.n, self.add, faulty) for faulty in (False, self.faulty)]
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
    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape, n, add, faulty):
        self.n, self.add, self.faulty = n, add, faulty
        layout = beat_layout(shape, n)
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout))})

    def elaborate(self, platform):
        m = Module()
        i, o = self.i, self.o
        # The faults that the beat in the register suffers from; "stuck" never ends.
        suffers = {fault: Signal(name=fault) if self.faulty else Const(0) for fault in FAULTS}
        met = {fault: i.p.data[0] == code + self.add if self.faulty else Const(0)
               for fault, code in FAULTS.items()}

        free = (~o.valid & ~suffers["retract"]) | (o.valid & o.ready & ~suffers["duplicate"])
        m.d.comb += i.ready.eq(free & ~suffers["stuck"])
        with m.If(free):
            m.d.sync += o.valid.eq(0)
        with m.If(i.valid & i.ready):
            m.d.sync += [o.p.last.eq(i.p.last), o.valid.eq(~met["drop"])]
            m.d.sync += [o.p.data[c].eq(i.p.data[c] + self.add) for c in range(self.n)]
        if not self.faulty:
            return m

        with m.If(o.valid & o.ready):
            for fault in ("duplicate", "unstable", "retract"):
                m.d.sync += suffers[fault].eq(0)
        with m.If(i.valid & i.ready):
            m.d.sync += [suffers[fault].eq(met[fault]) for fault in FAULTS]
            with m.If(met["value"]):
                m.d.sync += o.p.data[0].eq(i.p.data[0] + self.add + 1)
        with m.If(suffers["unstable"] & ~o.ready):
            m.d.sync += o.p.data[0].eq(o.p.data[0] + 1)
        with m.If(suffers["retract"] & ~o.ready):
            m.d.sync += o.valid.eq(~o.valid)
        return m
