"""The geometry matrix: layers, Plans and inputs that every simulator runs, and what they cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from organza.plan import Plan
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza.visits import WeightVisit
from organza_hw.orders.weight import WeightTables
from organza_hw.row_buffer import RingLayout
from organza_sim.issue_times import engine_cycles
from tests.plans import random_plan
from tests.strategies import random_convolve, random_input, random_program

MOST_CYCLES = 2000

# What to draw, and what of it to keep.
FAMILIES: tuple[tuple[dict, Callable[[Convolve], bool]], ...] = (
    ({}, lambda node: True),
    ({"max_kernel": 25, "max_size": 4, "max_channels": 4, "max_positions": 60}, lambda node: True),
    ({"max_stride": 8, "max_kernel": 9, "max_size": 5, "max_positions": 81, "geometry": "transposed"},
     lambda node: max(node.x.up, node.y.up) > 4),
    ({"max_stride": 8, "max_kernel": 9, "max_size": 24, "geometry": "convolution"},
     lambda node: node.x.down > 1 and node.y.down > 1),
    ({"max_channels": 9, "max_size": 4, "max_kernel": 4, "max_stride": 2}, lambda node: node.ci > 4 and node.co > 4),
    ({"max_channels": 9, "max_size": 4}, lambda node: node.groups > 1 and node.ci // node.groups > 2),
    ({"max_channels": 4, "max_kernel": 4}, lambda node: node.y == node.x and node.x.size > 1),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """A Program with a Plan and some images."""

    program: Program
    plan: Plan
    x: np.ndarray

    @property
    def schedules(self) -> list[Schedule]:
        return self.plan.schedules(self.program)


@cache
def case(
    seed: int, *, layers: int = 1, images: int = 3, max_cycles: int = MOST_CYCLES, code: str | None = "linear",
    orders: tuple[str, ...] = ("row",),
) -> Case:  # fmt: skip
    """Case number `seed`: one layer or a chain, at most 16 lanes each and `max_cycles` cycles in all.

    `code` is the weight code of all layers; None draws one for each. `orders` are those to draw one from for each layer.
    """
    rng = np.random.default_rng([layers, seed])
    while True:
        if layers > 1:
            program = random_program(rng, layers, max_positions=30, code=code)
        else:
            limits, wanted = FAMILIES[seed % len(FAMILIES)]
            program = Program((random_convolve(rng, code=code, **limits),))
            if not wanted(program.nodes[0]):
                continue
        plan = random_plan(rng, program, orders=orders)
        if sum(map(engine_cycles, plan.schedules(program))) <= max_cycles:
            return Case(program, plan, random_input(rng, program, images))


def features(case: Case) -> set[str]:
    """Names of everything unusual about the layers of a case."""
    found: set[str] = set()
    for number, schedule in enumerate(case.schedules):
        node = schedule.node
        before, after = case.plan.joints[number], case.plan.joints[number + 1]
        ring = RingLayout(schedule, n=before.n, depth=before.depth)
        found |= _geometry(node)
        cig, cog = node.ci // node.groups, node.co // node.groups
        flags = {
            "several ci tiles": schedule.ci_tiles > 1,
            "several co tiles": schedule.co_tiles > node.groups,
            "remainder in ti": cig % schedule.ti,
            "remainder in to": cog % schedule.to,
            "pixel lanes": schedule.p > 1,
            "pixel lanes, pitch 2+": schedule.p > 1 and node.x.pitch > 1,
            "one bank more": ring.banks > schedule.p,
            "masked lanes": any(not all(tap.mask) for block in schedule.blocks for tap in block.taps),
            "part blocks": any(block.pixels < schedule.p for block in schedule.blocks),
            "e below to": schedule.e < schedule.to,
            "epilogue stalls": schedule.cycles > schedule.issues,
            "chunks with remainder": schedule.to % schedule.e,
            "least ring": before.depth == schedule.least_depth,
            "deeper ring": before.depth > schedule.least_depth,
            "n in below ti": before.n < schedule.ti,
            "n in above ti": before.n > schedule.ti,
            "n in with padding": node.ci % before.n,
            "n out with padding": node.co % after.n,
            "writes over a beat's end": schedule.e > 1 and after.n % schedule.e,
            "channel by channel writes": ring.width < min(before.n, schedule.ti),
            f"{schedule.order} order": True,
            **_weight_order(schedule, ring),
        }
        found |= {name for name, holds in flags.items() if holds}
    return found


def _weight_order(schedule: Schedule, ring: RingLayout) -> dict[str, bool]:
    visit = schedule.visit
    if not isinstance(visit, WeightVisit):
        return {}
    phases = [(rows, columns) for rows in visit.rows for columns in visit.columns]
    frames = ring.depth / schedule.node.y.size
    return {
        "several phases": len(phases) > 1,
        "unbalanced phases": len({len(rows.taps) * len(columns.taps) for rows, columns in phases}) > 1,
        "phase without a tap": any(not (rows.taps and columns.taps) for rows, columns in phases),
        "tile waits for the epilogue": visit.waits,
        "sums added to at once": 1 in WeightTables(ring, pixel_beats=1).repeats,
        "one frame": frames == 1, "part of a second frame": 1 < frames < 2, "two frames": frames == 2,
        "streamed": schedule.streams,
    }  # fmt: skip


def _geometry(node: Convolve) -> set[str]:
    flags = {
        "square": node.y == node.x,
        "height is not width": node.y.size != node.x.size,
        "kernel not square": node.y.kernel != node.x.kernel,
        "strides differ": (node.y.up, node.y.down) != (node.x.up, node.x.down),
        "groups": node.groups > 1,
        "depthwise": node.groups == node.ci > 1,
        "odd ci": node.ci % 2 and node.ci > 1,
        "odd co": node.co % 2 and node.co > 1,
        "table": node.epilogue.table is not None,
        "signed input": node.input.signed,
        "unsigned input": not node.input.signed,
    }
    found = {name for name, holds in flags.items() if holds}
    for axis in (node.y, node.x):
        found |= {f"kernel {axis.kernel}", f"up {axis.up}", f"down {axis.down}"}
        flags = {
            "K mod S": axis.kernel % axis.up and axis.kernel > axis.up,
            "K below S": axis.kernel < axis.up,
            "K below down": axis.kernel < axis.down,
            "up and down": axis.up > 1 and axis.down > 1,
            "asymmetric crops": axis.crop_before != axis.crop_after,
            "negative crop": min(axis.crop_before, axis.crop_after) < 0,
            "output padding": axis.crop_after < axis.crop_before and axis.up > 1,
            "position without a tap": not all(axis.table),
            "one position": axis.size == 1,
            "one output": axis.output == 1,
        }
        found |= {name for name, holds in flags.items() if holds}
    return found


EVERYTHING = {
    *(f"kernel {k}" for k in (1, 2, 3, 4, 5, 7, 9, 25)),
    *(f"up {k}" for k in range(1, 9)), *(f"down {k}" for k in range(1, 9)),
    "several ci tiles", "several co tiles", "remainder in ti", "remainder in to", "pixel lanes",
    "pixel lanes, pitch 2+", "one bank more", "masked lanes", "part blocks", "e below to", "epilogue stalls",
    "chunks with remainder", "least ring", "deeper ring", "n in below ti", "n in above ti", "n in with padding",
    "n out with padding", "writes over a beat's end", "channel by channel writes",
    "square", "height is not width", "kernel not square", "strides differ", "groups", "depthwise", "odd ci", "odd co",
    "table", "signed input", "unsigned input",
    "K mod S", "K below S", "K below down", "up and down", "asymmetric crops", "negative crop", "output padding",
    "position without a tap", "one position", "one output",
}  # fmt: skip
# What is there in weight order only; streams need a serial code.
WEIGHT_ORDER = {
    "several phases", "unbalanced phases", "phase without a tap", "tile waits for the epilogue", "sums added to at once",
    "one frame", "part of a second frame", "two frames",
}  # fmt: skip
