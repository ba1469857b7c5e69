# amaranth: UnusedElaboratable=no
"""Encoder and decoder of a coded joint: the tokens of the software, the beats again, and the cycles."""

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.run_length import BLOCK, RUN_BITS, Token, lane_tokens
from organza_hw.joint import joint_signature
from organza_hw.joint_rle import BUFFERS, RunDecoder, RunEncoder, memory_bits, token_layout
from organza_sim.beats import Beat, last_flags
from organza_sim.pysim import run
from tests.organza_hw.patterns import CROSSED, PATTERNS


class Pair(wiring.Component):
    """An encoder and its decoder."""

    def __init__(self, shape, n, row_beats, rows):
        self.encoder, self.decoder = RunEncoder(shape, n, row_beats), RunDecoder(shape, n, row_beats * rows)
        super().__init__({"i": In(joint_signature(shape, n)), "o": Out(joint_signature(shape, n))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder, m.submodules.decoder = self.encoder, self.decoder
        wiring.connect(m, wiring.flipped(self.i), self.encoder.i)
        for given, taken in zip(self.encoder.o, self.decoder.i, strict=True):
            wiring.connect(m, given, taken)
        wiring.connect(m, self.decoder.o, wiring.flipped(self.o))
        return m


def play(beats, *, shape, row_beats, rows, idle="never", pressure="never"):
    """Run `beats` through a pair; checks data, flags and tokens."""
    n = beats.shape[1]
    pair, beat = Pair(shape, n, row_beats, rows), Beat.of(shape, n)
    flags = last_flags(len(beats) // (rows * row_beats), rows * row_beats)
    token = Beat(1, max(Shape.cast(shape).width, RUN_BITS), False)
    made = run(pair, beats, flags, i=beat, o=beat, outputs=len(beats), stall_in=PATTERNS[idle],
               stall_out=PATTERNS[pressure],
               joints={lane: (pair.encoder.o[lane], token) for lane in range(n)})  # fmt: skip
    assert np.array_equal(made.outputs, beats) and np.array_equal(made.last, flags)
    for lane, joint in made.joints.items():
        got = [Token(bool(run), int(value)) for run, (value,) in zip(joint.last, joint.beats, strict=True)]
        width = Shape.cast(shape).width
        assert got == lane_tokens(beats[:, lane] & ((1 << width) - 1), row_beats)
    return made


@pytest.mark.parametrize("row_beats", range(1, 2 * BLOCK + 1))
def test_every_pattern_of_zeros(row_beats):
    patterns = np.array([[pattern >> bit & 1 for bit in range(row_beats)] for pattern in range(1 << row_beats)])
    values = patterns * np.random.default_rng(row_beats).integers(1, 128, patterns.shape)
    play(values.reshape(-1, 1), shape=unsigned(8), row_beats=row_beats, rows=2)


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_stalls(idle, pressure):
    for n, row_beats, shape in ((3, 6, signed(8)), (2, 1, unsigned(1)), (1, 9, signed(3))):
        bits = Shape.cast(shape).width
        rng = np.random.default_rng([n, row_beats])
        beats = rng.integers(0, 1 << bits, (6 * row_beats, n)) * rng.integers(0, 2, (6 * row_beats, n))
        if shape.signed:
            beats = np.where(beats >= 1 << bits - 1, beats - (1 << bits), beats)
        play(beats, shape=shape, row_beats=row_beats, rows=3, idle=idle, pressure=pressure)


def test_latency_and_throughput():
    """A block leaves in the cycle after its last beat came; then a beat a cycle."""
    for row_beats in (1, 4, 6):
        beats = np.random.default_rng(0).integers(0, 2, (4 * row_beats, 2))
        made = play(beats, shape=unsigned(8), row_beats=row_beats, rows=2)
        assert made.out_cycles[0] - made.in_cycles[0] == min(row_beats, BLOCK)
    beats = np.random.default_rng(0).integers(0, 2, (64, 2))
    made = play(beats, shape=unsigned(8), row_beats=8, rows=2)
    assert np.all(np.diff(made.in_cycles) == 1) and np.all(np.diff(made.out_cycles) == 1)


def test_cycles_do_not_depend_on_the_data():
    rng = np.random.default_rng(1)
    for pressure in PATTERNS:
        runs = [play(rng.integers(0, 2, (60, 2)) * scale, shape=unsigned(8), row_beats=10, rows=3, pressure=pressure)
                for scale in (0, 1, 1)]  # fmt: skip
        assert len({tuple(made.out_cycles) for made in runs}) == len({tuple(made.in_cycles) for made in runs}) == 1


def test_memory_bits():
    assert token_layout(unsigned(8)).size == 9 and token_layout(unsigned(1)).size == 1 + RUN_BITS
    assert memory_bits(unsigned(8), 4) == 4 * BUFFERS * BLOCK * 10
