# amaranth: UnusedElaboratable=no
"""Bits on lines, at any phase of the two clocks and where that drifts."""

import random

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from organza_hw.video.serializer import Serializer

SHIFT = 8_000  # picoseconds of a clock
WORDS = 60


def sent(phase, lines=2):
    """Words of each line, its bits, and how many "shift" edges there were before each word, with "pixel" edges so many picoseconds behind those."""
    rng = random.Random(phase)
    words = [[rng.randrange(1024) for _ in range(WORDS)] for _ in range(lines)]
    serializer, found, appeared = Serializer(lines), [[] for _ in range(lines)], []
    top = Module()
    top.domains += [ClockDomain("pixel"), ClockDomain("shift")]
    top.submodules.serializer = serializer

    async def source(ctx):
        for number in range(WORDS):
            for k in range(lines):
                ctx.set(serializer.words[k], words[k][number])
            appeared.append(len(found[0]) // 2)
            await ctx.tick("pixel")

    async def sink(ctx):
        for _ in range(WORDS * 5):
            _, _, *pairs = await ctx.tick("shift").sample(*(serializer.pairs[k] for k in range(lines)))
            for k, pair in enumerate(pairs):
                found[k] += [pair & 1, pair >> 1]

    simulator = Simulator(top)
    simulator.add_clock(SHIFT * 1e-12, domain="shift", phase=SHIFT * 1e-12)
    simulator.add_clock(5 * SHIFT * 1e-12, domain="pixel", phase=(SHIFT + phase) * 1e-12)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    return words, found, appeared


@pytest.mark.parametrize("phase", [0, 1, 2_500, 4_000, 7_999, 8_000, 19_000, 32_000, 39_999])
def test_every_phase(phase):
    """All words but the first few, each once, one behind the other, on all lines at the same time."""
    words, found, appeared = sent(phase)
    starts = set()
    for line, bits in zip(words, found, strict=True):
        text, wanted = "".join(map(str, bits)), "".join(f"{word:010b}"[::-1] for word in line[4:-4])
        assert wanted in text
        starts.add(text.index(wanted))
    (start,) = starts
    # Seen at the end of a cycle that begins with the third edge; where edges are at the same time, perhaps the fourth by this count.
    assert start / 2 - appeared[4] in {3, 3 + (phase % SHIFT == 0)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("first", [0, 1])
def test_edges_at_the_same_time(seed, first):
    """Whichever side of an edge the synchronizer falls on, no bit is lost or sent twice; the first few are seen early, or late."""
    rng = random.Random(seed)
    words = [rng.randrange(1024) for _ in range(WORDS)]
    edges = [5 * number + (first if number < 6 else rng.randrange(2)) for number in range(WORDS)]  # cycles of "shift" in which they are seen
    serializer, bits = Serializer(1), []
    top = Module()
    pixel, shift = ClockDomain("pixel", reset_less=True), ClockDomain("shift", reset_less=True)
    top.domains += [pixel, shift]
    top.submodules.serializer = serializer

    async def testbench(ctx):
        number = 0
        for cycle in range(edges[-1]):
            ctx.set(pixel.clk, 0)
            if cycle == edges[number]:
                ctx.set(pixel.clk, 1)
                ctx.set(serializer.words[0], words[number])
                number += 1
            ctx.set(shift.clk, 1)
            pair = ctx.get(serializer.pairs[0])
            bits.extend((pair & 1, pair >> 1))
            ctx.set(shift.clk, 0)

    simulator = Simulator(top)
    simulator.add_testbench(testbench)
    simulator.run()
    assert "".join(f"{word:010b}"[::-1] for word in words[4:-4]) in "".join(map(str, bits))
