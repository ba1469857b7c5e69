# amaranth: UnusedElaboratable=no
"""A joint of a pipeline: what the producer gives is what the consumer takes, beat for beat, and stays while it waits."""

import pytest
from amaranth.hdl import Cover, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza.plan import JointPlan
from organza.program import Program
from organza.schedule import Schedule
from organza_hw.pipeline import Pipeline
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, Assume, Axis, begin, mutated, stable, tiny_layer
from tests.plans import plan_of

pytestmark = pytest.mark.synth
CYCLES = 30  # the first beat passes the joint after 25


class Shell(wiring.Component):
    """Two engines of one multiplier each, any pauses on both sides."""

    component = Pipeline

    def __init__(self):
        super().__init__({"valid": In(1), "value": In(1), "ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        nodes = [tiny_layer(name, y=Axis(size=2, kernel=1), x=Axis(size=1, kernel=1), bits=1) for name in "ab"]
        program = Program(tuple(nodes))
        schedules = [Schedule(node=node, ti=1, to=1) for node in nodes]
        plan = plan_of(program, schedules, [JointPlan(n=1, depth=1), JointPlan(n=1, depth=1), JointPlan(n=1, depth=0)])
        m.submodules.pipeline = pipeline = self.component(program, plan, files=False)
        begun = begin(m)
        m.d.comb += [pipeline.i.valid.eq(self.valid), pipeline.i.payload.data.as_value().eq(self.value),
                     pipeline.o.ready.eq(self.ready)]  # fmt: skip
        stable(m, begun, pipeline.i, Assume, "i")
        producer, consumer = pipeline.engines[0].o, pipeline.engines[1].i
        stable(m, begun, producer, Assert, "joint")
        came, passed = Signal(6), Signal(6)
        m.d.sync += [came.eq(came + (pipeline.i.valid & pipeline.i.ready)),
                     passed.eq(passed + (producer.valid & producer.ready))]  # fmt: skip
        m.d.comb += [
            Assert(consumer.valid == producer.valid),
            Assert(consumer.ready == producer.ready),
            Assert(consumer.payload.as_value() == producer.payload.as_value()),
            Cover(passed == 1),
        ]
        return m


def verilog(component=Pipeline):
    return to_verilog(type("Mutant", (Shell,), {"component": component})(), TOP)


def test_for_all_time():
    prove(verilog(), TOP, depth=3)


def test_beats_are_reached():
    prove(verilog(), TOP, mode="cover", depth=CYCLES)


@pytest.mark.parametrize("old, new", [
    ("sink.valid.eq(valid)", "sink.valid.eq(1)"),
    ("ready.eq(sink.ready)", "ready.eq(1)"),
    ("payload.eq(source.payload)", "payload.eq(~source.payload.as_value())"),
])  # fmt: skip
def test_mutants(old, new):
    mutant = mutated(Pipeline, old, new, method="_joint")
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(mutant), TOP, mode="bmc", depth=CYCLES)
