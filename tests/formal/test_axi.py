# amaranth: UnusedElaboratable=no
"""AXI handshakes: what is offered stays until it is taken, whatever happens inside; every access of a register is answered, once."""

import pytest
from amaranth.hdl import Module, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza_hw.axi.frame_store import FrameStore
from organza_hw.axi.gates import InputGate, OutputGate
from organza_hw.axi.load_bytes import LoadBytes
from organza_hw.axi.registers import GIVEN, RegisterFile
from organza_hw.axi.stream import BeatReader, BeatWriter, Framing
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, Assume, begin, counter, mutated, stable

pytestmark = pytest.mark.synth
FRAMING = Framing((3, 2, 1), Shape(1), 2)
MANY, DEPTH = 8, 10


class Handshake(wiring.Component):
    """Anything that stays while it waits goes in; what is taken outside is any, and so are the inputs `extra`."""

    def __init__(self, component, extra=()):
        self.component, self.extra = component, extra
        super().__init__({
            "valid": In(1), "payload": In(len(Value.cast(component.i.payload))), "ready": In(1), **{name: In(1) for name in self.extra},
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.component = component = self.component
        begun = begin(m)
        m.d.comb += [component.i.valid.eq(self.valid), Value.cast(component.i.payload).eq(self.payload), component.o.ready.eq(self.ready)]
        m.d.comb += [getattr(component, name).eq(getattr(self, name)) for name in self.extra]
        stable(m, begun, component.i, Assume, "i")
        stable(m, begun, component.o, Assert, "o")
        return m


class Accesses(wiring.Component):
    """Any master: answers stay, and there are never more than accesses, and never more than one less than both halves of them."""

    def __init__(self, component):
        self.component = component
        members = {name: getattr(component, name).signature for name in ("aw", "w", "ar")}
        super().__init__({
            **{f"{name}_valid": In(1) for name in members}, "b_ready": In(1), "r_ready": In(1),
            "address": In(12), "word": In(32), "strobes": In(4),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.component = component = self.component
        begun = begin(m)
        m.d.comb += [
            component.aw.payload.addr.eq(self.address), component.ar.payload.addr.eq(self.address),
            component.w.payload.data.eq(self.word), component.w.payload.strb.eq(self.strobes),
        ]  # fmt: skip
        for name in ("aw", "w", "ar"):
            m.d.comb += getattr(component, name).valid.eq(getattr(self, f"{name}_valid"))
            stable(m, begun, getattr(component, name), Assume, name)
        for name in GIVEN:
            m.d.comb += getattr(component, name).ready.eq(getattr(self, f"{name}_ready"))
            stable(m, begun, getattr(component, name), Assert, name)
        passed = {
            name: counter(m, getattr(component, name).valid & getattr(component, name).ready, MANY, f"passed_{name}")
            for name in ("aw", "w", "b", "ar", "r")
        }  # fmt: skip
        for request, answer, offered in (("aw", "b", component.b.valid), ("w", "b", component.b.valid), ("ar", "r", component.r.valid)):
            open_ = Signal(range(MANY), name=f"open_{request}")
            m.d.comb += [open_.eq(passed[request] - passed[answer]), Assert(open_ <= 2), Assert(~offered | (open_ != 0))]
        # With nothing on its way, the next is taken; with something, an answer is there or comes within three cycles.
        late = Signal(3)
        with m.If((passed["ar"] == passed["r"]) | component.r.valid):
            m.d.sync += late.eq(0)
        with m.Else():
            m.d.sync += late.eq(late + 1)
        m.d.comb += [Assert(late < 3), Assert((passed["ar"] != passed["r"]) | component.ar.ready)]
        return m


def shell(component, *extra):
    return to_verilog(Handshake(component, extra), TOP)


@pytest.mark.parametrize("component, given", [
    pytest.param(BeatReader, [FRAMING], marks=pytest.mark.full), (BeatWriter, [FRAMING]), (InputGate, [1]), (LoadBytes, []),
])  # fmt: skip
def test_adapters_for_all_time(component, given):
    prove(shell(component(*given)), TOP, depth=4)


def test_frame_store():
    """How many words wait behind its memory is no part of the property, so that it is searched from reset."""
    prove(shell(FrameStore(FRAMING)), TOP, mode="bmc", depth=16)


def test_output_gate_for_all_time():
    """Whenever it is reset, and as often."""
    prove(shell(OutputGate(1), "reset"), TOP, depth=3)


@pytest.mark.parametrize("old, new", [
    ("free.eq(~self.o.valid | self.o.ready)", "free.eq(~self.o.valid | self.o.ready | cut)"),
    ("m.If(free)", "m.If(free | self.reset)"),
])  # fmt: skip
def test_output_gate_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(shell(mutated(OutputGate, old, new)(1), "reset"), TOP, mode="bmc", depth=6)


@pytest.mark.parametrize("component, old, new", [
    (BeatReader, "with m.If(self.o.ready)", "with m.If(1)"),
    (BeatWriter, "free.eq(~self.o.valid | self.o.ready)", "free.eq(1)"),
    (FrameStore, "moves.eq(~self.o.valid | self.o.ready)", "moves.eq(1)"),
])  # fmt: skip
def test_adapter_mutants(component, old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(shell(mutated(component, old, new)(FRAMING)), TOP, mode="bmc", depth=16)


def test_registers():
    prove(to_verilog(Accesses(RegisterFile([1])), TOP), TOP, mode="bmc", depth=DEPTH)


@pytest.mark.parametrize("method, old, new", [
    ("_write", "act.eq(addressed & given & (~self.b.valid | self.b.ready) & ~full)", "act.eq(addressed & given & ~full)"),
    ("_taken", "channel.ready.eq(~there)", "channel.ready.eq(1)"),
    ("_read", "done.eq(addressed & known & (~self.r.valid | self.r.ready))", "done.eq(addressed & known)"),
])  # fmt: skip
def test_register_mutants(method, old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(to_verilog(Accesses(mutated(RegisterFile, old, new, method=method)([1])), TOP), TOP, mode="bmc", depth=DEPTH)
