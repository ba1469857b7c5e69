# amaranth: UnusedElaboratable=no
"""Engine: its boundary keeps the rules of a stream, and no output leaves before its inputs have come."""

import pytest
from amaranth.hdl import Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza.schedule import Schedule
from organza_hw import engine as engine_module
from organza_hw.engine import Engine
from organza_hw.output_rows import OutputRows
from organza_hw.sequencer import Sequencer
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove, stream_shell
from tests.formal.shell import TOP, Assert, Assume, Axis, begin, mutated, stable, tiny_layer

pytestmark = pytest.mark.synth
HEIGHT = 2
# The first output leaves 25 cycles after its input. Every row is alike, so a few cycles more show all there is.
CYCLES = 27


def tiny_engine():
    """One multiplier, images of two rows of one pixel."""
    node = tiny_layer(y=Axis(size=HEIGHT, kernel=1), x=Axis(size=1, kernel=1), bits=1)
    return Engine(Schedule(node=node, ti=1, to=1), n_in=1, n_out=1, depth=2)


class Shell(wiring.Component):
    """Any pauses on both sides; beats are counted, whatever they hold."""

    def __init__(self):
        super().__init__({"valid": In(1), "ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = tiny_engine()
        begun = begin(m)
        m.d.comb += [engine.i.valid.eq(self.valid), engine.o.ready.eq(self.ready)]
        stable(m, begun, engine.i, Assume, "i")
        stable(m, begun, engine.o, Assert, "o")
        came, left, row = Signal(6), Signal(6), Signal(range(HEIGHT))
        leaves = engine.o.valid & engine.o.ready
        m.d.sync += [came.eq(came + (engine.i.valid & engine.i.ready)), left.eq(left + leaves)]
        with m.If(leaves):
            m.d.sync += row.eq(Mux(row == HEIGHT - 1, 0, row + 1))
        m.d.comb += [
            Assert(~engine.o.valid | (left < came)),  # output row y needs input row y
            Assert(~engine.o.valid | (engine.o.payload.last == (row == HEIGHT - 1))),
            Assert(came - left <= 2 + 2 + 1),  # ring, output rows, the beat at `o`
            Cover(leaves & engine.o.payload.last),
        ]
        return m


def test_handshake_for_all_time():
    text = to_verilog(tiny_engine(), "engine")
    prove(stream_shell(text, "engine"), "stream_shell", depth=3)


@pytest.mark.full
def test_beats_are_counted():
    prove(to_verilog(Shell(), TOP), TOP, mode="bmc", depth=CYCLES)


def test_outputs_are_reached():
    prove(to_verilog(Shell(), TOP), TOP, mode="cover", depth=40)


@pytest.mark.parametrize("part, old, new", [
    (Sequencer, "(ahead >= at.window)", "(ahead >= 0)"),
    (OutputRows, "last.eq(read_last & (unit == self.units - 1))", "last.eq(read_last)"),
])  # fmt: skip
def test_mutants(monkeypatch, part, old, new):
    monkeypatch.setattr(engine_module, part.__name__, mutated(part, old, new))
    with pytest.raises(ProofError, match="does not hold"):
        prove(to_verilog(Shell(), TOP), TOP, mode="bmc", depth=CYCLES)


def test_a_mutant_that_drops_a_beat(monkeypatch):
    monkeypatch.setattr(engine_module, "OutputRows", mutated(OutputRows, "~self.o.valid | self.o.ready", "1"))
    text = to_verilog(tiny_engine(), "engine")
    with pytest.raises(ProofError, match="does not hold"):
        prove(stream_shell(text, "engine"), "stream_shell", mode="bmc", depth=CYCLES)
