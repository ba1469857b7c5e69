"""Ten bits of every pixel clock on each line, two with every clock of the domain "shift", which is five times as fast."""

from typing import Any

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from organza_hw.video.tmds import SYMBOL

PAIRS = SYMBOL // 2


class Serializer(wiring.Component):
    """Symbols to bits, bit 0 first.

    Words come from the domain "pixel", which has a fifth of the clock of "shift" in any phase, and this may drift by up to one "shift" clock: a
    word is taken one to four of them after it appeared, of the five that it stays, and one every five.

    Latency: bits 0 and 1 are at `pairs` behind the third "shift" edge after the "pixel" edge at which a word appeared, one more or less where that drifts.
    Throughput: a word each "pixel" clock. No back-pressure.

    Parameters
    ----------
    lines : how many.

    Members
    -------
    words : In, an array of 10 bits for each line. pairs : Out, an array of 2 bits, of which bit 0 is the first on the line.
    """

    words: Any
    pairs: Any

    def __init__(self, lines):
        self.lines = lines
        super().__init__({"words": In(data.ArrayLayout(SYMBOL, lines)), "pairs": Out(data.ArrayLayout(2, lines))})

    def elaborate(self, platform):
        m = Module()
        toggle, came, before = Signal(), Signal(), Signal()
        m.d.pixel += toggle.eq(~toggle)
        m.submodules.toggle = FFSynchronizer(toggle, came, o_domain="shift")
        m.d.shift += before.eq(came)
        phase, set_ = Signal(range(PAIRS)), Signal()  # 0 where an edge of "pixel" is seen, the one that it was set by; whether it was
        m.d.shift += phase.eq(Mux(phase == PAIRS - 1, 0, phase + 1))
        # Edges of both clocks in the same moment are seen in one cycle or in the next: no reason to move.
        near = (phase == PAIRS - 1) | (phase == 0) | (phase == 1)
        with m.If((came != before) & ~(set_ & near)):
            m.d.shift += [phase.eq(1), set_.eq(1)]
        for k in range(self.lines):
            left = Signal(SYMBOL, name=f"left_{k}")
            m.d.shift += left.eq(Mux(phase == 0, self.words[k], left >> 2))
            m.d.comb += self.pairs[k].eq(left[:2])
        return m


class Ecp5Pad(wiring.Component):
    """Two bits a "shift" clock on a pin of an ECP5: `ODDRX1F` (Lattice TN-02035), which sends D0 with the rising edge and D1 with the falling one.

    Members
    -------
    pair : In(2), bit 0 first. pin : Out(1).
    """

    pair: Signal
    pin: Signal

    def __init__(self):
        super().__init__({"pair": In(2), "pin": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.cell = Instance(
            "ODDRX1F", i_SCLK=ClockSignal("shift"), i_RST=Const(0), i_D0=self.pair[0], i_D1=self.pair[1], o_Q=self.pin
        )
        return m
