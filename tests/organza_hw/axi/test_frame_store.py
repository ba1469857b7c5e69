# amaranth: UnusedElaboratable=no
"""Whole frames come out, others do not, whatever stalls."""

import numpy as np
import pytest
from amaranth.hdl import Shape, Value

from organza_hw.axi.frame_store import FrameStore
from organza_hw.axi.stream import Framing
from tests.organza_hw.link.shared import silence, simulate
from tests.organza_hw.patterns import CROSSED, PATTERNS

SHAPES = [((5, 1, 2), 3), ((1, 1, 1), 1), ((3, 3, 1), 2), ((8, 1, 1), 8)]


def packed(framing, data, keep, last):
    return data | keep << 8 * framing.word_bytes | last << 9 * framing.word_bytes


def frames(framing, rng):
    """Words in, words that must come out, and how many frames were taken, short and long."""
    words, wanted, counts = [], [], np.zeros(3, int)
    size, elements = framing.word_bytes, framing.shape[0] * framing.pixels
    for number in range(40):
        data = [int.from_bytes(rng.bytes(size), "little") for _ in range(framing.words)]
        keep = [framing.all_keep] * (framing.words - 1) + [framing.last_keep]
        kind = ("whole", "early", "late", "hole", "more")[int(rng.integers(5)) if number % 2 else 0]
        if kind == "early":
            count = int(rng.integers(0, framing.words))
            data, keep = data[:count] or [0], keep[:count] or [0]
        elif kind == "late":
            data, keep = data + data[: int(rng.integers(1, 4))] * 2, [framing.all_keep] * 99
            keep[framing.words - 1] = framing.last_keep
        elif kind == "hole":
            keep[int(rng.integers(framing.words))] &= ~1
        elif kind == "more" and framing.last_keep == framing.all_keep:
            kind = "whole"
        elif kind == "more":
            keep[-1] = framing.all_keep
        if kind == "whole":
            wanted += data
        counts += [kind == "whole", kind in ("early", "hole"), kind in ("late", "more")]
        words += [packed(framing, word, keep[k], k == len(data) - 1) for k, word in enumerate(data)]
    assert counts.all() or elements == 1 or framing.last_keep == framing.all_keep
    return words, wanted, counts


def run(component, words, count, idle, pressure, watchdog=8000):
    """What comes out, events, and the cycles in which words went in and out."""
    found, events, moved = [], np.zeros(3, int), ([], [])

    async def testbench(ctx):
        sent, offered, quiet, payload = 0, False, 0, Value.cast(component.o.payload)
        for cycle in range(watchdog):
            offered = sent < len(words) and (offered or not idle[cycle % len(idle)])
            ctx.set(component.i.valid, offered)
            if offered:
                ctx.set(Value.cast(component.i.payload), words[sent])
            ctx.set(component.o.ready, not pressure[cycle % len(pressure)])
            _, _, took, there, taken, word, *pulses = await ctx.tick().sample(
                component.i.ready, component.o.valid, component.o.ready, payload, component.taken, component.short, component.long,
            )  # fmt: skip
            events[:] += pulses
            if offered and took:
                moved[0].append(cycle)
                sent, offered = sent + 1, False
            if there and taken:
                moved[1].append(cycle)
                found.append(word)
            quiet = 0 if sent < len(words) or len(found) < count else quiet + 1
            if quiet == 5:
                break
        else:
            raise AssertionError(f"{len(found)} of {count} words after {watchdog} cycles")
        ctx.set(component.i.valid, 0)
        await silence(ctx, component.o, 20)

    simulate(component, testbench)
    return found, events, moved


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_right_and_wrong_frames(idle, pressure):
    for k, (shape, n) in enumerate(SHAPES):
        framing = Framing(shape, Shape(8), n)
        words, wanted, counts = frames(framing, np.random.default_rng(k))
        found, events, _ = run(FrameStore(framing), words, len(wanted), *(np.array(PATTERNS[name], bool) for name in (idle, pressure)))
        assert found == wanted
        assert events.tolist() == counts.tolist()


@pytest.mark.parametrize("shape, n", SHAPES)
def test_a_word_a_cycle(shape, n):
    """From the last word of a frame to its first at `o` it takes `LATENCY` cycles; frames of some words leave no gap."""
    framing, free = Framing(shape, Shape(8), n), np.zeros(1, bool)
    words = [packed(framing, k, framing.last_keep if last else framing.all_keep, last)
             for k in range(6 * framing.words) for last in [k % framing.words == framing.words - 1]]  # fmt: skip
    found, _, (went, came) = run(FrameStore(framing), words, len(words), free, free)
    assert found == [*range(len(words))]
    assert came[0] - went[framing.words - 1] == FrameStore.LATENCY
    if framing.words > 2:
        assert np.diff(went).max() == np.diff(came).max() == 1


def test_two_frames_wait():
    """And nothing more is taken while nobody takes them."""
    framing = Framing((3, 1, 1), Shape(8), 1)
    component = FrameStore(framing)

    async def testbench(ctx):
        taken = 0
        for _ in range(40):
            ctx.set(component.i.valid, 1)
            ctx.set(Value.cast(component.i.payload), packed(framing, taken, 1, taken % 3 == 2))
            _, _, took = await ctx.tick().sample(component.i.ready)
            taken += took
        assert taken == 6

    simulate(component, testbench)
