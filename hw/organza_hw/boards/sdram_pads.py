"""An SDRAM's pins on an ECP5: a register in every pad, and a clock that is the domain's turned over."""

from typing import Any

from amaranth import *
from amaranth.hdl import IOPort
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.board import Memory
from organza_hw.external.sdram import pin_signature

OUTPUTS = ("cke", "ras", "cas", "we", "ba", "a", "dqm")


class SdramPads(wiring.Component):
    """Registers in the pads (`OFS1P3DX`, `IFS1P3DX`), so that all pins change as late after the clock; `ODDRX1F` sends 0 and then 1 in
    every cycle, the chip's clock: it rises half a cycle after its inputs changed.

    Latency: a cycle to the pins; words are taken from them with the rising edge, or half a cycle earlier, which is then kept for that edge.

    Parameters
    ----------
    memory : with pins. falling : words are taken with the falling edge, see `organza_hw.external.sdram_timing.Cycles`.

    Members
    -------
    inside : In, `pin_signature`. clk, cs, cke, ras, cas, we, ba, a, dqm : Out, the pins. dq : an `IOPort`, which is no member.
    """

    inside: Any
    clk: Signal
    cs: Signal

    def __init__(self, memory: Memory, dq: IOPort, *, falling: bool):
        assert memory.pins is not None
        self.dq, self.falling = dq, falling
        sizes = {"ba": len(memory.pins.ba), "a": len(memory.pins.a), "dqm": len(memory.pins.dqm)}
        super().__init__({
            "inside": In(pin_signature(memory)), "clk": Out(1), "cs": Out(1), **{name: Out(sizes.get(name, 1)) for name in OUTPUTS},
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        inside = self.inside
        m.submodules.clock = Instance(
            "ODDRX1F", i_SCLK=ClockSignal(), i_RST=Const(0), i_D0=Const(0), i_D1=Const(1), o_Q=self.clk
        )
        order = Value.cast(inside.order)
        for k, name in enumerate(("ras", "cas", "we")):
            self._register(m, name, "OFS1P3DX", order[k], getattr(self, name))
        for name in ("cke", "ba", "a", "dqm"):
            for k, (value, pin) in enumerate(zip(getattr(inside, name), getattr(self, name), strict=True)):
                self._register(m, f"{name}{k}", "OFS1P3DX", value, pin)
        # What enables the pads is no register of theirs and far from some, so it comes a cycle before the word: nobody else drives the bus
        # then, nor in the two cycles behind the word.
        held, out, come = Signal(), Signal(len(self.dq)), Signal(len(self.dq))
        m.d.sync += held.eq(inside.dq_oe)
        for k in range(len(self.dq)):
            m.submodules[f"dq{k}"] = Instance("BB", i_I=out[k], i_T=~(inside.dq_oe | held), o_O=come[k], io_B=self.dq[k])
            self._register(m, f"dq_o{k}", "OFS1P3DX", inside.dq_o[k], out[k])
        if self.falling:
            falling: Any = ClockDomain("falling", clk_edge="neg", reset_less=True)  # the stubs know no members
            m.domains.falling = falling
            half = Signal(len(self.dq), reset_less=True)
            m.d.comb += falling.clk.eq(ClockSignal())
            m.d.falling += half.eq(come)
            m.d.sync += inside.dq_i.eq(half)
        else:
            for k in range(len(self.dq)):
                self._register(m, f"dq_i{k}", "IFS1P3DX", come[k], inside.dq_i[k])
        return m

    @staticmethod
    def _register(m, name, cell, value, to):
        m.submodules[f"{name}_pad"] = Instance(cell, i_SCLK=ClockSignal(), i_SP=Const(1), i_CD=Const(0), i_D=value, o_Q=to)
