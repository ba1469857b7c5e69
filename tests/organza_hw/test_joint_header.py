# amaranth: UnusedElaboratable=no
"""Headers in front of images: put in, passed on, taken off, whatever the neighbours do."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.joint import joint_signature
from organza_hw.joint_header import HeaderReader, HeaderWriter
from organza_sim.beats import Beat
from organza_sim.pysim import run
from organza_sim.status import headers_of, with_headers, without_headers
from tests.organza_hw.patterns import CROSSED, PATTERNS

IMAGES = 12
EXPONENT = Beat(1, 5, False)  # six bits, the sign as `last`


class Loop(wiring.Component):
    """A writer and a reader, exponents from a table, as late as `late` says, taken as slowly as `slow` says."""

    def __init__(self, n, exponents, *, late=0, slow=0):
        self.writer, self.reader = HeaderWriter(n=n, images=3), HeaderReader(n=n, images=3)
        self.exponents, self.late, self.slow = exponents, late, slow
        super().__init__({"i": In(joint_signature(signed(16), n)), "o": Out(joint_signature(signed(16), n))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.writer, m.submodules.reader = writer, reader = self.writer, self.reader
        wiring.connect(m, wiring.flipped(self.i), writer.i)
        wiring.connect(m, writer.o, reader.i)
        wiring.connect(m, reader.o, wiring.flipped(self.o))
        m.submodules.table = table = memory.Memory(shape=signed(6), depth=len(self.exponents), init=self.exponents)
        port, at, waits, idle = table.read_port(domain="comb"), Signal(8), Signal(8, init=self.late), Signal(8, init=self.slow)
        m.d.comb += [
            port.addr.eq(at), writer.exponent.payload.eq(port.data),
            writer.exponent.valid.eq((at < len(self.exponents)) & (waits == 0)),
            reader.exponent.ready.eq(idle == 0),
        ]  # fmt: skip
        m.d.sync += [waits.eq(waits - (waits != 0)), idle.eq(idle - (idle != 0))]
        with m.If(writer.exponent.valid & writer.exponent.ready):
            m.d.sync += [at.eq(at + 1), waits.eq(self.late)]
        with m.If(reader.exponent.valid & reader.exponent.ready):
            m.d.sync += idle.eq(self.slow)
        return m


def play(n, beats, **options):
    """Images through the loop; checks everything but the cycles, and returns the run."""
    late, slow = options.pop("late", 0), options.pop("slow", 0)
    rng = np.random.default_rng(beats)
    exponents = rng.integers(-31, 1, IMAGES)
    loop = Loop(n, exponents.tolist(), late=late, slow=slow)
    values = rng.integers(-32768, 32768, (IMAGES * beats, n))
    last = np.arange(len(values)) % beats == beats - 1
    beat = Beat(n, 16, True)
    made = run(loop, values, last, i=beat, o=beat, outputs=len(values), **options,
               joints={"joint": (loop.writer.o, beat), "exponent": (loop.reader.exponent, EXPONENT)})  # fmt: skip
    assert np.array_equal(made.outputs, values)
    assert np.array_equal(made.last, last)
    joint, wanted = made.joints["joint"], with_headers(values, last, exponents)
    assert np.array_equal(joint.beats, wanted[0])
    assert np.array_equal(joint.last, wanted[1])
    assert headers_of(joint, beats).ravel().tolist() == exponents.tolist()
    assert np.array_equal(without_headers(joint, beats).beats, values)
    got = made.joints["exponent"]
    assert (got.beats[:, 0] - 32 * got.last).tolist() == exponents.tolist()
    return made


@pytest.mark.parametrize("idle, pressure", CROSSED)
@pytest.mark.parametrize("n, beats", [(1, 1), (3, 2), (2, 5)])
def test_patterns_crossed(n, beats, idle, pressure):
    play(n, beats, stall_in=PATTERNS[idle], stall_out=PATTERNS[pressure])


@pytest.mark.parametrize("beats", [1, 2, 7])
def test_a_header_takes_one_cycle(beats):
    """An image every beats + 1 cycles, and its exponent in the cycle after the header."""
    made = play(2, beats)
    cycles = made.joints["joint"].cycles.reshape(IMAGES, -1)
    assert cycles.ravel().tolist() == list(range(cycles[0, 0], cycles[0, 0] + IMAGES * (beats + 1)))
    assert np.array_equal(made.out_cycles.reshape(IMAGES, -1), cycles[:, 1:])
    assert made.joints["exponent"].cycles.tolist() == (cycles[:, 0] + 1).tolist()


@pytest.mark.parametrize("late, slow", [(9, 0), (0, 9), (5, 7)])
def test_exponents_that_come_late_or_stay(late, slow):
    """Images wait for their exponents, and headers for room; nothing is lost."""
    made = play(2, 3, late=late, slow=slow)
    assert made.out_cycles[-1] >= (IMAGES - 4) * max(late, slow)
