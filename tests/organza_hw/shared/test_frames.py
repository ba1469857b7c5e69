"""Frames of a shared engine: where tensors lie, and that images are taken whole, each after its `open`."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from organza_hw.formats import wire_shape
from organza_hw.shared.frames import WRITE_LATENCY, FrameLayout, Frames
from organza_hw.shared.row import SharedRowTables
from organza_sim.beats import to_beats
from tests.organza_hw.patterns import PATTERNS
from tests.shared_engines import shared_case

SEEDS = range(40)


def engine_of(seed: int):
    case = shared_case(seed)
    return case, case.plan.works(case.program)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_neighbours_have_places_of_their_own(seed):
    case, shared = engine_of(seed)
    layout = FrameLayout(shared, n=case.plan.joints[0].n)
    ranges = [range(base, base + ring.bank_words) for base, ring in zip(layout.bases, layout.rings, strict=True)]
    assert layout.bases[0] == 0 and layout.bank_words == max(taken.stop for taken in ranges)
    # Read and written together: a layer's input and its output, and the next image's input with that of the last layer.
    for one, other in zip(ranges, [*ranges[1:], ranges[0]], strict=True):
        assert not set(one) & set(other)


@pytest.mark.parametrize("seed", SEEDS)
def test_pixel_lanes_read_banks_of_their_own(seed):
    case, shared = engine_of(seed)
    layout = FrameLayout(shared, n=case.plan.joints[0].n)
    tables = SharedRowTables(layout, pixel_beats=1)
    for turn, p, pitch in tables.reads:
        assert len({(turn + lane * pitch) % layout.banks for lane in range(p)}) == p
    for number, schedule in enumerate(shared.layers):
        places = {layout.rings[number].place(x) for x in range(schedule.node.x.size)}
        assert len(places) == schedule.node.x.size


@pytest.mark.parametrize("idle", PATTERNS)
@pytest.mark.parametrize("seed", [0, 3, 11])
def test_images_are_taken_whole(seed, idle):
    """Two images: the first at once, the second after `open`; every value where the layout has it, and nothing taken before."""
    case, shared = engine_of(seed)
    first = shared.layers[0].node
    n = case.plan.joints[0].n
    layout = FrameLayout(shared, n=n)
    frames = Frames(layout, bits=8, input=wire_shape(first.input), e=1, offsets={0}, straddle=False)
    images = case.x[:2]
    beats, last = to_beats(images, n)
    half, seen = len(beats) // 2, []

    async def take(ctx, start, end):
        cycle, offered = 0, False
        while start < end:
            offered |= not PATTERNS[idle][cycle % len(PATTERNS[idle])]
            ctx.set(frames.i.valid, offered)
            for lane, value in enumerate(beats[start]):
                ctx.set(frames.i.payload.data[lane], int(value))
            ctx.set(frames.i.payload.last, int(last[start]))
            _, _, taken, whole = await ctx.tick().sample(frames.i.valid & frames.i.ready, frames.taken)
            start, offered = start + taken, offered and not taken
            assert whole == (taken and start == end)
            cycle += 1
            assert cycle < 5000
        ctx.set(frames.i.valid, 0)

    async def read(ctx):
        ring, (channels, height, width) = layout.rings[0], first.input_shape
        await ctx.tick().repeat(2 + WRITE_LATENCY)
        made = np.zeros((channels, height, width), np.int64)
        for y in range(height):
            for x in range(width):
                bank, word = ring.place(x)
                for tile in range(ring.pixel_words):
                    ctx.set(frames.r_addr[bank], y * ring.row_words + word + tile)
                    await ctx.tick().repeat(Frames.LATENCY)
                    for lane in range(min(shared.ti, channels - tile * shared.ti)):
                        value = ctx.get(frames.r_data[bank][lane])
                        signed = value - 256 if first.input.signed and value > 127 else value
                        made[tile * shared.ti + lane, y, x] = signed
        seen.append(made)

    async def testbench(ctx):
        await take(ctx, 0, half)
        await read(ctx)
        ctx.set(frames.i.valid, 1)
        for _ in range(20):
            _, _, ready = await ctx.tick().sample(frames.i.ready)
            assert not ready
        ctx.set(frames.i.valid, 0)
        ctx.set(frames.open, 1)
        await ctx.tick()
        ctx.set(frames.open, 0)
        await take(ctx, half, len(beats))
        await read(ctx)

    simulator = Simulator(frames)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert np.array_equal(np.stack(seen), images)
