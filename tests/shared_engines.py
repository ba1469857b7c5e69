"""Random chains whose layers share an engine, alone or between engines of one layer."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache

import numpy as np

from organza.loadable import loadable
from organza.plan import JointPlan, Plan, Work, schedules_of
from organza.program import Program
from organza.schedule import Schedule
from organza.time_sharing import PIPELINES, TimeSharing
from organza_sim.tilings import Choice
from tests.organza_sim.layer_cases import Case
from tests.plans import plan_of, random_schedule
from tests.strategies import random_input, random_program

CODES = ("linear", "ternary")
MOST_CYCLES = 1500


def random_sharing(rng: np.random.Generator, nodes, choice: Choice) -> TimeSharing:
    """Any tilings of these layers that fit one engine, with any number of epilogue units and waiting rows."""
    ti = int(rng.integers(1, min(node.ci for node in nodes) + 1))
    c, e = int(rng.integers(1, 9)), int(rng.integers(1, ti + 1))
    choice = replace(choice, arithmetic=str(rng.choice(nodes[0].code.lanes_for(nodes[0].input))))
    layers = []
    for node in nodes:
        p = int(rng.integers(1, min(6, node.x.output, c) + 1))
        to = int(rng.integers(1, min(node.co, c // p) + 1))
        layers.append(Schedule(node=node, ti=ti, to=to, p=p, e=min(e, to), **asdict(choice)))
    last = layers[-1]
    g = int(rng.choice([g for g in range(1, last.p + 1) if last.p % g == 0])) if choice.order == "row" else 1
    units = max(*(layer.e for layer in layers), g)
    # As a Plan says it: every layer has the units that it can use.
    layers = [replace(layer, e=min(units, layer.to)) for layer in layers[:-1]] + [replace(last, e=min(units // g, last.to), g=g)]
    rows = int(rng.integers(2, max(last.units, 2) + 1))
    return TimeSharing(
        layers=tuple(layers), c=max(layer.to * layer.p for layer in layers), e=max(layer.e * layer.g for layer in layers), rows=rows,
        pipeline=str(rng.choice(PIPELINES)),
    )  # fmt: skip


def plan_of_works(rng: np.random.Generator, program: Program, works: list[Work]) -> Plan:
    """These engines, with any beats that fit, rings as they must be or up to two rows deeper."""
    joints, least = [], 1
    for work in works:
        first = schedules_of(work)[0]
        n = int(rng.integers(min(least, first.node.ci), first.node.ci + 1))
        depth = first.node.y.size if isinstance(work, TimeSharing) else first.least_depth + int(rng.integers(0, 3))
        joints.append(JointPlan(n=n, depth=depth))
        least = schedules_of(work)[-1].e
    joints.append(JointPlan(n=int(rng.integers(least, program.nodes[-1].co + 1)), depth=0))
    return plan_of(program, works, joints)


@cache
def shared_case(seed: int, *, alone: bool = True, images: int = 3, loads: bool = False, order: str = "row", memory: str = "rom") -> Case:
    """Two to four layers on one engine, or also one before or behind it unless `alone`. loads : weights are loaded at run time, of the
    shared engine or of others or of all. order, memory : of the shared engine."""
    rng = np.random.default_rng([77, seed, alone])
    while True:
        layers = int(rng.integers(2, 5)) if alone else int(rng.integers(3, 5))
        program = random_program(rng, layers, max_positions=30, code=str(rng.choice(CODES)))
        if any(node.groups != 1 for node in program.nodes):
            continue
        start = 0 if alone else int(rng.integers(0, 2))
        end = layers if alone else int(rng.integers(start + 2, layers + (start > 0)))
        if loads:
            names = [node.name for node in program.nodes]
            inside, outside = names[start:end], [*names[:start], *names[end:]]
            chosen = [names, inside, outside][int(rng.integers(3))] if outside else names
            program = loadable(program, chosen)
        nodes = list(program.nodes)
        before, behind = ([random_schedule(rng, node, max_lanes=6) for node in part] for part in (nodes[:start], nodes[end:]))
        try:
            shared = random_sharing(rng, nodes[start:end], Choice(order=order, memory=memory))
        except ValueError:  # what was drawn is no engine
            continue
        plan = plan_of_works(rng, program, [*before, shared, *behind])
        if shared.cycles + sum(schedule.cycles for schedule in (*before, *behind)) <= MOST_CYCLES:
            return Case(program, plan, random_input(rng, program, images))
