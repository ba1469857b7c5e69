"""What the tests of all expanders share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from organza.codes.code import lane_order
from organza.schedule import Schedule
from organza_hw.codes import expander_of
from organza_hw.lane_walk import lane_places
from organza_sim.pysim import trace_cycles
from tests.plans import random_schedule
from tests.strategies import random_convolve


def random_layer(kind: str, seed: int, **limits) -> Schedule:
    """A layer with a code of this kind on random lanes."""
    limits = {"max_channels": 4, "max_kernel": 3, **limits}
    rng = np.random.default_rng(seed)
    return random_schedule(rng, random_convolve(rng, code=kind, **limits), max_lanes=12)


def in_order(schedule: Schedule) -> list[int]:
    """Fields in the order of the lane words, from the definition of the order."""
    node = schedule.node
    order = lane_order(node.code.shape, schedule.ti, schedule.to, node.groups)
    return node.code.fields().reshape(-1)[order[order >= 0]].tolist()


def expand(schedule: Schedule, stalls=(False,), *, damage=None, cycles=None):
    """Fields that an expander gives while the sink stalls as `stalls` tells, the cycles that take
    them, and whether it found its memory intact and without error.

    `damage` changes the expander before it is built.
    """
    expander = expander_of(schedule.node.code)(schedule)
    if damage:
        damage(expander)
    if cycles is None:
        interval = expander.interval(schedule.node.code)
        gaps = -(-len(stalls) // stalls.count(False))
        cycles = 64 + 2 * lane_places(schedule) * max(interval, 2 * gaps)
    ports = ["o.valid", "o.ready", "o.payload", "intact", "error"]
    inputs = ({"o.ready": int(not stalls[cycle % len(stalls)])} for cycle in range(cycles))
    seen = trace_cycles(expander, inputs, ports)
    for (valid, ready, payload, *_), (still, _, same, *_) in pairwise(seen):
        assert not valid or ready or (still and same == payload), "an offer was withdrawn"
    taken = [(cycle, row[2]) for cycle, row in enumerate(seen) if row[0] and row[1]]
    _, _, _, intact, error = seen[-1]
    return [field for _, field in taken], [cycle for cycle, _ in taken], bool(intact), bool(error)


def check(schedule: Schedule, seed: int) -> None:
    """Every field once, one a cycle from the stated latency on; the same under stalls."""
    kind = expander_of(schedule.node.code)
    wanted = in_order(schedule)
    fields, cycles, intact, error = expand(schedule)
    assert (fields, intact, error) == (wanted, True, False)
    assert cycles[0] == kind.latency + kind.interval(schedule.node.code) - 1
    stalls = (np.random.default_rng(seed).random(64) < (0.1, 0.5, 0.9)[seed % 3]).tolist()
    assert expand(schedule, stalls)[::2] == (wanted, True)
