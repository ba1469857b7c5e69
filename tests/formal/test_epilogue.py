# amaranth: UnusedElaboratable=no
"""EpilogueUnit: for all inputs of small widths the integer rule, exactly `latency` cycles later."""

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza.epilogue import Epilogue
from organza_hw.epilogue import EpilogueUnit
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, begin, mutated

pytestmark = pytest.mark.synth
SUM, FACTOR, SHIFT = 4, 3, 2
LOW, HIGH = -3, 2
LATENCY = EpilogueUnit.latency_of(SUM + 1)


class Shell(wiring.Component):
    """Any sums, biases, multipliers and shifts, and the rule of `organza.epilogue` written out for them."""

    component = EpilogueUnit

    def __init__(self):
        self.inputs = {"sum": signed(SUM), "bias": signed(SUM - 1), "positive": signed(FACTOR),
                       "negative": signed(FACTOR), "shift": unsigned(SHIFT)}  # fmt: skip
        super().__init__({name: In(shape) for name, shape in self.inputs.items()})

    def elaborate(self, platform):
        m = Module()
        one = np.ones(1, int)
        # The unit adds within the accumulator's width, which covers the bias.
        unit = self.component(Epilogue(0 * one, one, one, 0 * one, LOW, HIGH), sum_bits=SUM + 1, output=signed(3),
                              **{name: shape for name, shape in self.inputs.items() if name != "sum"})  # fmt: skip
        m.submodules.unit = unit
        begin(m)
        for name in self.inputs:
            m.d.comb += getattr(unit, name).eq(getattr(self, name))
        v = self.sum + self.bias
        product = v * Mux(v >= 0, self.positive, self.negative)
        half = Mux(self.shift == 0, 0, (1 << self.shift) >> 1)
        q = (product + half) >> self.shift
        wanted = Signal(signed(3))
        m.d.comb += wanted.eq(Mux(q < LOW, LOW, Mux(q > HIGH, HIGH, q)))
        full = Signal()
        m.d.comb += full.eq(1)
        for _ in range(unit.latency):
            later, filled = Signal.like(wanted), Signal()
            m.d.sync += [later.eq(wanted), filled.eq(full)]
            wanted, full = later, filled
        m.d.comb += Assert(~full | (unit.q == wanted))
        return m


def verilog(component):
    return to_verilog(type("Mutant", (Shell,), {"component": component})(), TOP)


def test_the_rule_for_all_inputs_and_all_time():
    prove(verilog(EpilogueUnit), TOP, depth=LATENCY + 2)


@pytest.mark.parametrize("old, new", [
    ("biased < 0", "biased < -1"),
    ("(fine >> 1) + fine[0]", "fine >> 1"),
    ("stages=shifted)", "stages=shifted + 1)"),
    ("Mux(above, high, wide)", "wide"),
])  # fmt: skip
def test_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(mutated(EpilogueUnit, old, new)), TOP, mode="bmc", depth=LATENCY + 4)
