# amaranth: UnusedElaboratable=no
"""RowBuffer: every beat taken once and in time, never one too many; what was written is read back until released."""

import pytest
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza.schedule import Schedule
from organza_hw.lanes.dot import register
from organza_hw.row_buffer import RingLayout, RowBuffer
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import (
    TOP,
    Assert,
    Assume,
    Axis,
    begin,
    counter,
    mutated,
    stable,
    tiny_layer,
)

pytestmark = pytest.mark.synth
DEPTH = 2  # rows
# ci, n, ti: a padded last beat; a beat that takes two writes; a beat of parts of two words.
SHAPES = [(3, 2, 2), (2, 2, 1), (3, 2, 3)]
# The longest row takes two cycles: in nine a slot is written, released, written and read again.
CYCLES = 10


class Shell(wiring.Component):
    """Any beats, releases and reads; a copy of what was written beside the ring."""

    component = RowBuffer
    shape = SHAPES[0]

    def __init__(self):
        ci, n, ti = self.shape
        node = tiny_layer(ci=ci, y=Axis(size=2, kernel=1), x=Axis(size=1, kernel=1), bits=1)
        self.ring = RingLayout(Schedule(node=node, ti=ti, to=1), n=n, depth=DEPTH)
        super().__init__({"valid": In(1), "values": In(n), "release": In(1), "word": In(3)})

    def elaborate(self, platform):
        m = Module()
        ci, n, ti = self.shape
        ring = self.ring
        m.submodules.rows = rows = self.component(ring, unsigned(1))
        begun = begin(m)
        m.d.comb += [
            rows.i.valid.eq(self.valid), rows.i.payload.data.as_value().eq(self.values),
            rows.release.eq(self.release), rows.r_addr[0].eq(self.word),
        ]  # fmt: skip
        stable(m, begun, rows.i, Assume, "i")
        taken = rows.i.valid & rows.i.ready
        beat = counter(m, taken, ring.row_beats, "beat")
        held = Signal(range(DEPTH + 2))  # rows in the ring
        m.d.sync += held.eq(held + rows.row_written - self.release)
        waiting = Signal(range(8))
        m.d.sync += waiting.eq(0)
        with m.If(rows.i.valid & ~rows.i.ready & (held < DEPTH)):
            m.d.sync += waiting.eq(waiting + 1)
        m.d.comb += [
            Assert(rows.row_written == (taken & (beat == ring.row_beats - 1))),
            Assert(~taken | (held < DEPTH)),
            Assert(held <= DEPTH),
            Assert(waiting < ring.pieces_per_beat),  # a beat is never left waiting while there is room
        ]

        slot, oldest = counter(m, rows.row_written, DEPTH, "slot"), counter(m, self.release, DEPTH, "oldest")
        arrived, readable = Signal(DEPTH), Signal(DEPTH)
        m.d.sync += readable.eq(arrived & ~(self.release << oldest))
        with m.If(self.release):
            m.d.sync += arrived.eq(arrived & ~(1 << oldest) | (rows.row_written << slot))
        with m.Else():
            m.d.sync += arrived.eq(arrived | (rows.row_written << slot))
        m.d.comb += Assume(~self.release | readable.bit_select(oldest, 1))
        for number in range(DEPTH):
            for channel in range(ci):
                kept = Signal(name=f"kept_{number}_{channel}")
                with m.If(taken & (slot == number) & (beat == channel // n)):
                    m.d.sync += kept.eq(self.values[channel % n])
                asked, expected = Signal(name=f"asked_{number}_{channel}"), Signal(name=f"wanted_{number}_{channel}")
                # What a memory holds is read with the address and shown `LATENCY` cycles later.
                reads = (self.word == number * ring.row_words + channel // ti) & readable[number]
                m.d.comb += [
                    asked.eq(register(m, reads, stages=RowBuffer.LATENCY)),
                    expected.eq(register(m, kept, stages=RowBuffer.LATENCY)),
                ]
                m.d.comb += Assert(~asked | (rows.r_data[0][channel % ti] == expected))
        return m


def verilog(component, shape):
    return to_verilog(type("Mutant", (Shell,), {"component": component, "shape": shape})(), TOP)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_lost_repeated_moved_or_overwritten(shape):
    prove(verilog(RowBuffer, shape), TOP, mode="bmc", depth=CYCLES)


@pytest.mark.parametrize("shape, old, new", [
    (SHAPES[0], "take.eq(beats.valid & may)", "take.eq(beats.valid)"),
    (SHAPES[0], "level < layout.depth", "level <= layout.depth"),
    (SHAPES[0], "level + self.row_written - self.release", "level + self.row_written"),
    (SHAPES[0], "Mux(start == layout.bank_words - layout.row_words, 0, start + layout.row_words)", "start"),
    (SHAPES[1], "may & part_last", "may"),
    (SHAPES[2], "offset.eq(table.row.offset)", "offset.eq(0)"),
])  # fmt: skip
def test_mutants(shape, old, new):
    with pytest.raises(ProofError, match="does not hold"):
        function = None if "level" in old else "row_writes"
        prove(verilog(mutated(RowBuffer, old, new, function=function), shape), TOP, mode="bmc", depth=CYCLES)
