"""Random Plans for the random Programs of `tests.strategies`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from organza.plan import EnginePlan, JointPlan, Plan, Work
from organza.program import Program
from organza.program_file import program_hash
from organza.schedule import Schedule

ORDERS = ("row", "weight")


def random_schedule(
    rng: np.random.Generator, node, *, max_lanes: int = 16, max_p: int = 4, orders: tuple[str, ...] = ("row",)
) -> Schedule:
    """Any Ti × To × P on at most `max_lanes` lanes, with any number of epilogue units, in one of `orders`."""
    cig, cog = node.ci // node.groups, node.co // node.groups
    while True:
        ti, to = int(rng.integers(1, node.code.span(cig, cig) + 1)), int(rng.integers(1, cog + 1))
        p = int(rng.integers(1, min(max_p, node.x.output) + 1))
        fixed_ti, fixed_to = node.code.lane_shape
        ti, to = fixed_ti or ti, fixed_to or to
        if ti * to * p <= max_lanes:
            e = int(rng.integers(1, to + 1))
            arithmetic = str(rng.choice(node.code.lanes_for(node.input)))
            order, memory = "row", ""
            if orders != ("row",):
                arithmetic = arithmetic if set(node.code.orders(arithmetic)) & set(orders) else ""
                order = str(rng.choice([o for o in orders if o in node.code.orders(arithmetic)]))
                memory = str(rng.choice(node.code.memories(order)))
            return Schedule(
                node=node, ti=min(ti, node.code.most_ti(arithmetic, cig)), to=to, p=p, e=e, arithmetic=arithmetic,
                order=order, memory=memory,
            )  # fmt: skip


def plan_of(program: Program, works: Sequence[Work], joints: list[JointPlan]) -> Plan:
    """The Plan with these engines and joints."""
    return Plan(program=program_hash(program), engines=tuple(map(EnginePlan.of, works)), joints=tuple(joints))


def random_plan(
    rng: np.random.Generator, program: Program, *, max_lanes: int = 16, orders: tuple[str, ...] = ("row",)
) -> Plan:
    """Any tilings, any beats that fit, rings of the least depth or up to two rows (in weight order: an image) more."""
    schedules = [random_schedule(rng, node, max_lanes=max_lanes, orders=orders) for node in program.nodes]
    joints, least = [], 1
    for schedule in schedules:
        n = int(rng.integers(min(least, schedule.node.ci), schedule.node.ci + 1))
        more = 2 if schedule.order == "row" else schedule.node.y.size
        joints.append(JointPlan(n=n, depth=schedule.least_depth + int(rng.integers(0, more + 1))))
        least = schedule.e
    joints.append(JointPlan(n=int(rng.integers(least, program.nodes[-1].co + 1)), depth=0))
    return plan_of(program, schedules, joints)
