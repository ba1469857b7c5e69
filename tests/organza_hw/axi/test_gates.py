# amaranth: UnusedElaboratable=no
"""What a reset leaves of streams: nothing that was offered goes away, and every frame ends."""

import numpy as np
import pytest
from amaranth.hdl import Value

from organza_hw.axi.gates import InputGate, OutputGate
from tests.organza_hw.link.shared import simulate

LENGTH, CYCLES = 4, 3000  # words of a frame; of a run
LAST, KEEP = 1 << 9, 1 << 8  # of a word of one byte


def run(component, *, idle, pressure, resets, seed, abandon=False):
    """What goes in and out in which cycle, cycles of resets, and how often `sent` was high. A reset makes an output gate's source begin a frame anew, and that of an
    input gate with `abandon`."""
    rng = np.random.default_rng(seed)
    went, came, cycles, pulses = [], [], [], []

    async def testbench(ctx):
        place, left, offered, waiting = 0, 0, False, None
        for cycle in range(CYCLES):
            begins = not left and rng.random() < resets
            left = left - 1 if left else 16 if begins else 0
            cycles.extend([cycle] if left else [])
            ctx.set(component.reset, left != 0)
            if isinstance(component, OutputGate):
                if left:
                    place, offered = 0, False
            else:
                ctx.set(component.abandon, abandon and begins)
                if abandon and begins:
                    place, offered = 0, False
            offered = offered or (rng.random() >= idle and not (abandon and left))
            word = len(went) % 200
            ctx.set(component.i.valid, offered)
            ctx.set(Value.cast(component.i.payload), word | KEEP | (LAST if place == LENGTH - 1 else 0))
            ctx.set(component.o.ready, rng.random() >= pressure)
            more = [component.sent] if isinstance(component, OutputGate) else []
            _, _, took, there, taken, payload, *pulse = await ctx.tick().sample(
                component.i.ready, component.o.valid, component.o.ready, Value.cast(component.o.payload), *more
            )
            if isinstance(component, OutputGate):
                assert waiting is None or (there and payload == waiting), f"what was offered goes away in cycle {cycle}"
                waiting = payload if there and not taken else None
                pulses.extend(pulse)
            if offered and took:
                went.append((cycle, word, place == LENGTH - 1))
                place, offered = (place + 1) % LENGTH, False
            if there and taken:
                came.append((cycle, payload))

    simulate(component, testbench)
    return went, came, cycles, sum(pulses)


@pytest.mark.parametrize("idle, pressure", [(0.0, 0.0), (0.5, 0.5), (0.0, 0.8), (0.8, 0.0)])
@pytest.mark.parametrize("resets", [0.0, 0.02])
def test_outputs(idle, pressure, resets):
    went, came, cycles, sent = run(OutputGate(1), idle=idle, pressure=pressure, resets=resets, seed=1)
    frames, frame = [], []
    for _, payload in came:
        frame.append(payload)
        if payload & LAST:
            frames.append(frame)
            frame = []
    whole = [frame for frame in frames if len(frame) == LENGTH and frame[-1] & KEEP]
    cut = [frame for frame in frames if not frame[-1] & KEEP]
    assert len(whole) + len(cut) == len(frames) and len(whole) > 80
    for frame in cut:
        assert frame[-1] == LAST and all(payload & KEEP for payload in frame[:-1]) and len(frame) <= LENGTH
    assert bool(cut) == bool(resets)
    # What comes is what went, but for words that were not offered yet when a reset began.
    numbers = [payload & 255 for _, payload in came if payload & KEEP]
    if not resets:
        assert numbers == [word for _, word, _ in went][: len(numbers)] and len(went) - len(numbers) <= 2
        assert len(whole) - 1 <= sent <= len(whole)
        if not idle and not pressure:
            assert len(numbers) >= CYCLES - 2  # a word a cycle
    else:
        sequence = iter(word for _, word, _ in went)
        assert all(number in sequence for number in numbers)
        assert 0 < sent <= len(whole)


@pytest.mark.parametrize("idle, pressure", [(0.0, 0.0), (0.5, 0.5), (0.0, 0.8), (0.8, 0.0)])
@pytest.mark.parametrize("abandon", [False, True])
def test_inputs(idle, pressure, abandon):
    """Of a frame that a reset cuts nothing comes behind the reset; unless it is abandoned, where the next word begins another one."""
    went, came, cycles, _ = run(InputGate(1), idle=idle, pressure=pressure, resets=0.02, seed=2, abandon=abandon)
    resets, place, dropped = set(cycles), 0, False
    passed = dict(came)
    count, dropped_words = 0, 0
    for k, (cycle, word, last) in enumerate(went):
        assert cycle not in resets
        before = went[k - 1][0] if k else -1
        if any(at in resets for at in range(before + 1, cycle)):
            dropped = not abandon and place != 0
        assert (cycle in passed) != dropped
        dropped_words += dropped
        if not dropped:
            assert passed[cycle] & 255 == word and bool(passed[cycle] & LAST) == last
            count += 1
        place = 0 if last else place + 1
        dropped = dropped and not last
    assert count == len(came) > 300 and bool(dropped_words) != abandon
