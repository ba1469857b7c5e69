# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.hdl import unsigned

from organza_hw.accumulators import Accumulators, Use
from organza_sim.pysim import trace_cycles

BITS = 12


def tiles(rng, to, p, e, count):
    """Issues of `count` tiles, at least P·ceil(To/E) cycles from last issue to last issue, some with idle cycles."""
    drain = p * -(-to // e)
    made, since = [], drain
    for _ in range(count):
        length = int(rng.integers(1, 5))
        gaps = [int(rng.integers(0, 3)) if rng.random() < 0.3 else 0 for _ in range(length)]
        gaps[-1] = max(gaps[-1], drain - since - length - sum(gaps[:-1]))
        since = 0
        made.append([(gap, rng.integers(-100, 100, (p, to))) for gap in gaps])
    return made


@pytest.mark.parametrize("to", [1, 2, 3, 5])
@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("e", [1, 2, 5])
def test_sums_of_tiles(to, p, e):
    if e > to:
        e = to
    rng = np.random.default_rng([to, p, e])
    component = Accumulators(bits=BITS, uses=[Use(to, p, e)], tile_layout=unsigned(7))
    chunks = -(-to // e)
    inputs, expected = [], {}
    for number, tile in enumerate(tiles(rng, to, p, e, 40)):
        total = np.zeros((p, to), int)
        for k, (gap, sums) in enumerate(tile):
            # What is not valid must not matter.
            noise = {"valid": 0, "first": 1, "last": 1, "sums": (sums + 1).reshape(-1).tolist(), "tile": 99}
            inputs += [noise] * gap
            inputs.append({"valid": 1, "first": k == 0, "last": k == len(tile) - 1, "sums": sums.reshape(-1).tolist(), "tile": number})
            total += sums
        at = len(inputs) + 1  # two cycles after the last issue
        steps = [(pixel, chunk) for pixel in range(p) for chunk in range(chunks)]
        for k, (pixel, chunk) in enumerate(steps):
            values = total[pixel, chunk * e : (chunk + 1) * e].tolist()
            expected[at + k] = (chunk, pixel, k == len(steps) - 1, number, values)
    outputs = ["o_valid", "o_chunk", "o_pixel", "o_last", "o_tile", "o_sums"]
    seen = trace_cycles(component, inputs + [{"valid": 0}] * 120, outputs)
    assert {cycle for cycle, row in enumerate(seen) if row[0]} == set(expected)
    for cycle, (chunk, pixel, last, number, values) in expected.items():
        _, *rest, sums = seen[cycle]
        assert rest == [chunk, pixel, last, number]
        assert [sums[k] for k in range(len(values))] == values
