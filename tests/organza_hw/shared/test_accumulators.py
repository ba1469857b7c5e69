"""Accumulators that layers use as P × To, each in its own way: sums, their order, their latency, and what travels with a tile."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from organza_hw.accumulators import Accumulators, Use
from tests.organza_hw.shared.test_frames import engine_of

BITS = 16


@pytest.mark.parametrize("seed", range(24))
def test_sums_leave_in_the_order_of_the_layer(seed):
    """Random tiles of random layers, the next one as soon as it may come; every sum, and silence after the last."""
    _, shared = engine_of(seed)
    rng = np.random.default_rng(seed)
    layout = data.StructLayout({"layer": range(max(len(shared.layers), 2)), "name": 8})
    lanes = {(number, *place): lane for lane, used in enumerate(shared.lane_uses) for number, place in used.items()}
    component = Accumulators(bits=BITS, uses=Use.of_shared(shared), tile_layout=layout)
    tiles = []
    for name in range(12):
        number = int(rng.integers(len(shared.layers)))
        issues = int(rng.integers(1, 5))
        tiles.append((name, number, rng.integers(-100, 100, (issues, shared.c))))
    wanted = []
    for name, number, values in tiles:
        schedule, sums = shared.layers[number], values.sum(0)
        for pixel in range(0, schedule.p, schedule.g):
            for chunk in range(schedule.chunks):
                channels = range(chunk * schedule.e, min((chunk + 1) * schedule.e, schedule.to))
                got = {
                    k * schedule.e + channel - chunk * schedule.e: int(sums[lanes[number, pixel + k, channel]])
                    for k in range(schedule.g) for channel in channels
                }  # fmt: skip
                wanted.append((name, pixel, chunk, got))
    seen: list[tuple[int, int, int, list[int]]] = []
    latencies: list[int] = []

    async def testbench(ctx):
        clock, ends = 0, []

        async def cycle():
            nonlocal clock
            sums = [component.o_sums[unit] for unit in range(shared.e)]
            _, _, valid, name, pixel, chunk, *values = await ctx.tick().sample(
                component.o_valid, component.o_tile.name, component.o_pixel, component.o_chunk, *sums
            )
            if valid:
                if pixel == 0 and chunk == 0:
                    latencies.append(clock - ends[len(latencies)])
                seen.append((name, pixel, chunk, values))
            clock += 1

        for number, (name, layer, values) in enumerate(tiles):
            before = shared.layers[tiles[number - 1][1]].drain if number else 0
            for issue, row in enumerate(values):
                last = issue == len(values) - 1
                # The last issue waits until the tile before has been emptied.
                while last and ends and clock < ends[-1] + before:
                    ctx.set(component.valid, 0)
                    await cycle()
                for lane, value in enumerate(row):
                    ctx.set(component.sums[lane], int(value))
                ctx.set(component.valid, 1)
                ctx.set(component.first, issue == 0)
                ctx.set(component.last, last)
                ctx.set(component.tile.layer, layer)
                ctx.set(component.tile.name, name)
                if last:
                    ends.append(clock)
                await cycle()
        ctx.set(component.valid, 0)
        for _ in range(100):
            await cycle()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert [(name, pixel, chunk) for name, pixel, chunk, _ in seen] == [(name, pixel, chunk) for name, pixel, chunk, _ in wanted]
    for (*_, values), (*_, good) in zip(seen, wanted, strict=True):
        assert {unit: values[unit] for unit in good} == good
    assert set(latencies) == {2}
