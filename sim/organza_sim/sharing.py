"""Plans of time-shared engines: To and P of every layer, epilogue units, and what an image costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from organza.plan import EnginePlan, JointPlan, Plan
from organza.program import Convolve, Program
from organza.program_file import program_hash
from organza.schedule import Schedule
from organza.time_sharing import OUTPUT_ROWS, TimeSharing, check_shareable
from organza_sim.cycles import run_recurrence
from organza_sim.tilings import tilings_of_ti

STEADY_IMAGES = 3
WIDEST_BEAT = 16


def share(nodes: Sequence[Convolve], ti: int, c: int, *, arithmetic: str = "", rows: int = OUTPUT_ROWS) -> TimeSharing:
    """The fastest engine of at most Ti × C lanes for these layers, with the fewest epilogue units that keep it so.

    rows : of the output that can wait.

    Raises ValueError, naming the layer, for one that cannot share an engine, and for a Ti beyond its channels.
    """
    for node in nodes:
        check_shareable(node)
    chosen = [tilings_of_ti(node, ti, c, arithmetic) for node in nodes]

    def engine(e: int) -> TimeSharing:
        layers = []
        for node, (to, p) in zip(nodes, chosen, strict=True):
            # Units that the last layer has no channels for take more pixels.
            g = max(g for g in range(1, p + 1) if p % g == 0 and g <= max(e // to, 1)) if node is nodes[-1] else 1
            layers.append(Schedule(node=node, ti=ti, to=to, p=p, e=min(e // g, to), g=g, arithmetic=arithmetic))
        return TimeSharing(
            layers=tuple(layers), c=max(to * p for to, p in chosen), e=max(layer.e * layer.g for layer in layers), rows=rows
        )

    most = min(ti, max(to for to, _ in chosen))
    best = engine(most)
    return next((found for e in range(1, most) if (found := engine(e)).cycles <= best.cycles), best)


def plan_shared(program: Program, ti: int, c: int, *, arithmetic: str = "") -> Plan:
    """The Plan of a single engine of at most Ti × C lanes for all layers. Raises ValueError as `share`."""
    height = program.nodes[-1].y.output
    engine = share(program.nodes, ti, c, arithmetic=arithmetic, rows=max(height, OUTPUT_ROWS))
    last = engine.layers[-1]
    joints = (
        JointPlan(n=min(program.nodes[0].ci, WIDEST_BEAT), depth=program.nodes[0].y.size),
        JointPlan(n=max(last.e, min(last.node.co, WIDEST_BEAT)), depth=0),
    )
    timing = run_recurrence([engine], joints, STEADY_IMAGES)
    for rows in range(OUTPUT_ROWS, engine.rows):
        trial = replace(engine, rows=rows)
        found = run_recurrence([trial], joints, STEADY_IMAGES)
        if found.interval <= timing.interval:
            engine, timing = trial, found
            break
    return Plan(
        program=program_hash(program), engines=(EnginePlan.of(engine),), joints=joints, cycles=timing.latency, interval=timing.interval,
    )  # fmt: skip
