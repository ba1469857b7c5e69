# amaranth: UnusedElaboratable=no
"""OutputRows: beats stay while they wait; none is lost, repeated, moved, or sent before its row is complete."""

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza_hw import output_rows
from organza_hw.output_rows import OutputRows
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, begin, counter, mutated, stable

pytestmark = pytest.mark.synth
N, HEIGHT, WIDTH, E, BITS = 2, 2, 1, 1, 1
# By channels. With 3 (a padded beat) a row is written in 3 cycles and sent in 2: ten cycles see two rows. With 2 a row is
# written in 2 and sent in 1: eleven cycles see both halves of the memory used again.
DEPTHS = {3: 11, 2: 12}


class Shell(wiring.Component):
    """Writes rows in order with any pauses and any values, and checks every beat at `o`."""

    component = OutputRows
    data_too = True
    channels = 3

    def __init__(self):
        super().__init__({"pause": In(1), "value": In(BITS), "ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        beats = -(-self.channels // N)  # of a pixel
        row_beats, steps = WIDTH * beats, WIDTH * self.channels
        m.submodules.rows = rows = self.component(
            shape=BITS, n=N, channels=self.channels, height=HEIGHT, width=WIDTH, rows=1, e=E, offsets=range(N), straddle=False
        )
        begun = begin(m)
        m.d.comb += rows.o.ready.eq(self.ready)
        stable(m, begun, rows.o, Assert, "o")
        if not self.data_too:
            m.d.comb += [rows.w_en.eq(~self.pause), rows.w_data.as_value().eq(self.value), rows.w_last.eq(self.value)]
            return m

        busy = Signal(range(4))  # rows begun and not yet freed, as an engine counts them
        step = Signal(range(steps))
        first, last = step == 0, step == steps - 1
        write = Signal()
        m.d.comb += write.eq(~self.pause & (~first | (busy < 2)))
        m.d.sync += busy.eq(busy + (write & first) - rows.unit_freed)
        written = counter(m, write & last, 4, "written")  # rows, modulo 4
        with m.If(write):
            m.d.sync += step.eq(Mux(last, 0, step + 1))
        pixel, channel = step // self.channels, step % self.channels
        m.d.comb += [
            rows.w_en.eq(write), rows.w_addr.eq(written[0] * row_beats + pixel * beats + channel // N),
            rows.w_offset.eq(channel % N), rows.w_count.eq(1), rows.w_data.as_value().eq(self.value),
            rows.w_last.eq(write & last),
        ]  # fmt: skip

        taken = rows.o.valid & rows.o.ready
        beat = counter(m, taken, row_beats, "beat")
        sent = counter(m, taken & (beat == row_beats - 1), 4, "sent")
        # No row too many: what is offered belongs to a row that was complete before.
        m.d.comb += [
            Assert(~rows.o.valid | (sent != written)),
            Assert(~rows.o.valid | (rows.o.payload.last == ((beat == row_beats - 1) & (sent[0] == HEIGHT - 1)))),
        ]
        if self.channels % N:
            m.d.comb += Assert(~rows.o.valid | (beat % beats != beats - 1) | (rows.o.payload.data[1] == 0))
        # What was written for the last four rows, beside the memory under test.
        kept = [[Signal(BITS, name=f"kept_{row}_{k}") for k in range(steps)] for row in range(4)]
        for row in range(4):
            for k in range(steps):
                with m.If(write & (written == row) & (step == k)):
                    m.d.sync += kept[row][k].eq(self.value)
            for k in range(row_beats):
                values = kept[row][k // beats * self.channels + k % beats * N :][: min(N, self.channels - k % beats * N)]
                with m.If(rows.o.valid & (sent == row) & (beat == k)):
                    m.d.comb += Assert(rows.o.payload.data.as_value()[: len(values) * BITS] == Cat(*values))
        # A complete row does not stay away: three cycles after the last write at most.
        waiting = Signal(range(5))
        m.d.sync += waiting.eq(0)
        with m.If((written != sent) & ~rows.o.valid):
            m.d.sync += waiting.eq(waiting + 1)
        m.d.comb += Assert(waiting < 3)
        return m


class Handshake(Shell):
    data_too = False


def verilog(shell, component):
    return to_verilog(type("Mutant", (shell,), {"component": component})(), TOP)


def test_handshake_for_all_time():
    prove(verilog(Handshake, OutputRows), TOP, depth=3)


@pytest.mark.parametrize("channels", DEPTHS)
def test_nothing_lost_repeated_or_moved(channels):
    shell = type("Shell", (Shell,), {"channels": channels})
    prove(verilog(shell, OutputRows), TOP, mode="bmc", depth=DEPTHS[channels])


@pytest.mark.parametrize("old, new", [
    ("move.eq(~self.o.valid | self.o.ready)", "move.eq(1)"),
    ("with m.If(move):\n        m.d.sync += self.o.valid", "with m.If(move | self.w_en):\n        m.d.sync += self.o.valid"),
])  # fmt: skip
def test_handshake_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(Handshake, mutated(OutputRows, old, new)), TOP, mode="bmc", depth=8)


@pytest.mark.parametrize("old, new, method", [
    ("complete + self.w_last - read_last", "complete + self.w_last", "elaborate"),
    ("Mux(at == depth - 1, 0, at + 1)", "Mux(at == depth - 2, 0, at + 1)", "_reads"),
    ("last.eq(read_last & (unit == self.units - 1))", "last.eq(read_last)", "elaborate"),
    ("group_last.eq(group == self.pixel_beats - 1)", "group_last.eq(1)", "elaborate"),
])  # fmt: skip
def test_data_mutants(old, new, method):
    assert output_rows.OUTPUT_UNITS == 2
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(Shell, mutated(OutputRows, old, new, method)), TOP, mode="bmc", depth=10)
