# amaranth: UnusedElaboratable=no
"""The walk against the order of the lane words."""

import numpy as np
import pytest

from organza.codes.code import lane_order
from organza_hw.lane_walk import LaneWalk, lane_places
from organza_sim.pysim import trace_cycles
from tests.organza_hw.patterns import PATTERNS
from tests.plans import random_schedule
from tests.strategies import random_convolve


@pytest.mark.parametrize("seed", range(12))
def test_places(seed):
    rng = np.random.default_rng(seed)
    schedule = random_schedule(rng, random_convolve(rng, max_kernel=3))
    node = schedule.node
    order = lane_order(node.code.shape, schedule.ti, schedule.to, node.groups)
    assert len(order) == lane_places(schedule)
    assert schedule.words == len(node.code.words(schedule.ti, schedule.to, node.groups))
    idle = list(PATTERNS.values())[seed % len(PATTERNS)]
    steps = [int(not idle[cycle % len(idle)]) for cycle in range(8 * len(order) + 80)]
    ports = ["going", "exists", "row", "column", "word_end", "end"]
    seen = trace_cycles(LaneWalk(schedule), ({"step": step} for step in steps), ports)
    rows = [row for row, step in zip(seen, steps, strict=True) if step]
    columns = np.prod(node.code.shape[1:])
    for number, (place, row) in enumerate(zip(order.tolist(), rows, strict=False)):
        going, exists, i, j, word_end, end = row
        assert (going, exists) == (1, place >= 0)
        assert not exists or i * columns + j == place
        assert word_end == ((number + 1) % (schedule.ti * schedule.to) == 0)
        assert end == (number == len(order) - 1)
    assert len(rows) > len(order) and not any(row[0] for row in rows[len(order) :])
