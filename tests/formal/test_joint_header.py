# amaranth: UnusedElaboratable=no
"""Headers of a joint: beats stay while they wait; no beat or exponent is lost, repeated or moved, for any neighbours."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza_hw.joint_header import HeaderReader, HeaderWriter
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, Assume, begin, constant, counter, mutated, stable

pytestmark = pytest.mark.synth
IMAGE = 2  # beats of an image
ROOM = 1  # exponents that can wait
MANY = 8
DEPTH = 9  # the third header waits for room


class Shell(wiring.Component):
    """A writer, and behind it a reader: any beats, exponents and pauses."""

    writer, reader = HeaderWriter, HeaderReader

    def __init__(self):
        super().__init__({
            "valid": In(1), "value": In(2), "exponent": In(signed(6)), "known": In(1), "ready": In(1), "taken": In(1), "image": In(range(MANY)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.writer, m.submodules.reader = writer, reader = self.writer(n=1, images=ROOM), self.reader(n=1, images=ROOM)
        wiring.connect(m, writer.o, reader.i)
        begun = begin(m)
        constant(m, begun, self.image)
        came, left = writer.i.valid & writer.i.ready, reader.o.valid & reader.o.ready
        given, got = (stream.valid & stream.ready for stream in (writer.exponent, reader.exponent))
        column = counter(m, came, IMAGE, "column")
        m.d.comb += [
            writer.i.valid.eq(self.valid), writer.i.payload.data[0].eq(self.value), writer.i.payload.last.eq(column == IMAGE - 1),
            writer.exponent.valid.eq(self.known), writer.exponent.payload.eq(self.exponent),
            reader.o.ready.eq(self.ready), reader.exponent.ready.eq(self.taken),
        ]  # fmt: skip
        for stream, name in ((writer.i, "i"), (writer.exponent, "given")):
            stable(m, begun, stream, Assume, name)
        for stream, name in ((writer.o, "joint"), (reader.o, "o"), (reader.exponent, "got")):
            stable(m, begun, stream, Assert, name)

        # Beats pass in the cycle in which they come, as they are, with `last` where it was.
        m.d.comb += [
            Assert(came == left),
            Assert(~left | ((reader.o.payload.data[0] == self.value) & (reader.o.payload.last == (column == IMAGE - 1)))),
        ]
        # Exponents come out in their order: the one of image number `image` is the one that was given for it.
        number, answer = counter(m, given, MANY, "number"), counter(m, got, MANY, "answer")
        asked = Signal(signed(6))
        with m.If(given & (number == self.image)):
            m.d.sync += asked.eq(self.exponent)
        m.d.comb += Assert(~(reader.exponent.valid & (answer == self.image)) | (reader.exponent.payload == asked))
        # What passes and is no beat is a header: one in front of every image, its exponent there from the next cycle on.
        headers = counter(m, writer.o.valid & writer.o.ready & ~left, MANY, "headers")
        images = counter(m, came & (column == IMAGE - 1), MANY, "images")
        ahead = Signal(range(MANY))
        m.d.comb += [
            ahead.eq(headers - images), Assert(ahead < 2), Assert(~left | (ahead == 1)),
            Assert(reader.exponent.valid == (answer != headers)),
        ]  # fmt: skip
        # With everybody willing, and the exponent known, an image waits for its header only.
        stands = Signal(range(4))
        willing = self.valid & self.ready & self.taken & self.known
        m.d.sync += stands.eq(stands + 1)
        with m.If(~willing | came):
            m.d.sync += stands.eq(0)
        m.d.comb += Assert(stands < 3)
        return m


def verilog(**components):
    return to_verilog(type("Mutant", (Shell,), components)(), TOP)


def test_nothing_lost_repeated_or_moved():
    prove(verilog(), TOP, mode="bmc", depth=DEPTH)


@pytest.mark.parametrize("old, new", [
    ("self.o.valid.eq(self.i.valid & queue.r_rdy)", "self.o.valid.eq(self.i.valid)"),
    ("header.eq(~header & self.i.payload.last)", "header.eq(~header)"),
    ("queue.r_en.eq(header & self.o.valid & self.o.ready)", "queue.r_en.eq(header & self.o.valid)"),
])  # fmt: skip
def test_writer_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(writer=mutated(HeaderWriter, old, new)), TOP, mode="bmc", depth=DEPTH)


@pytest.mark.parametrize("old, new", [
    ("self.i.valid & ~header", "self.i.valid"),
    ("queue.w_en.eq(header & self.i.valid)", "queue.w_en.eq(self.i.valid)"),
    ("Mux(header, queue.w_rdy, self.o.ready)", "Mux(header, 1, self.o.ready)"),
])  # fmt: skip
def test_reader_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(reader=mutated(HeaderReader, old, new)), TOP, mode="bmc", depth=DEPTH)
