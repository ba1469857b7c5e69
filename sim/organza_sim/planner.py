"""The planner: lanes, beats and rings for every layer, so that images follow each other as fast as a budget allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from organza.plan import EnginePlan, JointPlan, Plan, Work, schedules_of
from organza.program import Convolve, Program
from organza.program_file import program_hash
from organza.run_length import CODINGS
from organza.schedule import Schedule
from organza.time_sharing import OUTPUT_ROWS, TimeSharing
from organza.visits import WeightVisit
from organza_hw.formats import wire_shape
from organza_hw.joint_rle import memory_bits
from organza_hw.row_buffer import RingLayout
from organza_hw.sequencer import OUTPUT_UNITS
from organza_hw.shared.frames import FrameLayout
from organza_sim.cycles import Timing, run_recurrence
from organza_sim.issue_times import engine_cycles
from organza_sim.sharing import Share, check_shares, share
from organza_sim.tilings import Choice, Tiling, choose_tilings, quick_tilings, useful_tiles

DEFAULT_LANES = 133  # of 96…160 lanes the best utilisation of the shipped generator
WIDEST_BEAT = 16
LATENCY_SLACK = 0.005
PAUSE_SLACK = 0.1  # of a layer whose lanes wait for the epilogue after every tile: cycles that fewer multipliers may cost
STEADY_IMAGES = 6
GOALS = ("interval", "latency")


def _least_epilogue(node: Convolve, tiling: Tiling, choice: Choice) -> Schedule:
    """The schedule with the fewest epilogue units that do not slow the layer down, by more than `PAUSE_SLACK` if lanes wait."""
    options = [
        Schedule(node=node, ti=tiling.ti, to=tiling.to, p=tiling.p, e=e, **asdict(choice)) for e in range(1, tiling.to + 1)
    ]
    most = engine_cycles(options[-1]) * (1 + PAUSE_SLACK if options[-1].pause else 1)
    return next(schedule for schedule in options if engine_cycles(schedule) <= most)


def _beats(channels: int) -> list[int]:
    """Sensible channels a beat, widest first: whole parts of a pixel, which also keeps the rotation networks small."""
    most = min(channels, WIDEST_BEAT)
    whole = [n for n in range(1, most + 1) if channels % n == 0]
    return sorted(whole if len(whole) > 1 else useful_tiles(channels, most), reverse=True)


def _search(values: list[int], good: Callable[[int], bool]) -> int:
    """The last of `values` up to which all are good; the first is taken as good."""
    best = values[0]
    for value in values[1:]:
        if not good(value):
            break
        best = value
    return best


def choices_of(
    program: Program, arithmetic: Mapping[str, str] | None = None, orders: Mapping[str, str] | None = None, memories: Mapping[str, str] | None = None,
) -> dict[str, Choice]:
    """What is given of every layer, by its name; arguments as of `plan_program`."""
    kinds, orders, memories = arithmetic or {}, orders or {}, memories or {}
    return {
        node.name: Choice(kinds.get(node.name, ""), orders.get(node.name, "row"), memories.get(node.name, "")) for node in program.nodes
    }


def plan_program(
    program: Program,
    lanes: int,
    *,
    arithmetic: Mapping[str, str] | None = None,
    orders: Mapping[str, str] | None = None,
    memories: Mapping[str, str] | None = None,
    coding: str = "plain",
    shares: Sequence[Share] = (),
    goal: str = "interval",
) -> Plan:
    """The Plan with the shortest interval on at most `lanes` multipliers, or with the fewest cycles of one image.

    Tilings come from an exhaustive search of the closed form. Beats and rings are then made as small as the exact
    recurrence allows: the interval must not grow, nor the cycles of one image by more than `LATENCY_SLACK`. For the goal "latency", tilings
    that spread the lanes for the least sum of all layers' cycles are tried too, and the recurrence decides.

    arithmetic : lanes by layer name, see `Code.arithmetics`; the code's first choice for layers that are not in it.
    orders : by layer name, see `organza.visits`; "row" for layers that are not in it.
    memories : by layer name, see `Code.memories`; the code's first choice for layers that are not in it.
    coding : of the joints between engines, see `JointPlan`.
    shares : layers that share engines, with what these have; the others have an engine each, and the rest of the lanes.
    goal : "interval" or "latency".

    Raises TypeError / ValueError for a budget that is no integer, or below one lane a layer, for lanes, an order or a
    memory that a code does not have, and for a coding or a goal that does not exist.
    """
    if goal not in GOALS:
        raise ValueError(f"Goal must be {' or '.join(map(repr, GOALS))}, not {goal!r}")
    if coding not in CODINGS:
        raise ValueError(f"Joint coding must be {' or '.join(map(repr, CODINGS))}, not {coding!r}")
    choices = choices_of(program, arithmetic, orders, memories)
    check_shares(shares, len(program.nodes))
    for node in program.nodes:  # refuses what the code does not have
        ti, to = node.code.lane_shape
        Schedule(node=node, ti=ti or 1, to=to or 1, **asdict(choices[node.name]))
    engines = {share.first: _shared(program, share, choices) for share in shares}
    inside = {k for share in shares for k in range(share.first, share.first + share.count)}
    alone = [k for k in range(len(program.nodes)) if k not in inside]
    nodes = [program.nodes[k] for k in alone]
    # A budget that is no number is refused as it is.
    budget = lanes - sum(engine.lanes for engine in engines.values()) if engines else lanes

    def planned(chosen: list[Tiling]) -> Plan:
        parts = zip(alone, nodes, chosen, strict=True)
        works: dict[int, Work] = {**engines, **{k: _least_epilogue(node, tiling, choices[node.name]) for k, node, tiling in parts}}
        return plan_schedules(program, [works[k] for k in sorted(works)], coding=coding)

    if not alone:
        if budget < 0:
            raise ValueError(f"Lane budget must be at least the {lanes - budget} lanes that are shared, not {lanes}")
        return planned([])
    best = planned(choose_tilings(nodes, budget, choices))
    if goal == "interval":
        return best
    others = map(planned, quick_tilings(nodes, budget, choices))
    return min([best, *others], key=lambda plan: (plan.cycles, plan.interval))


def _shared(program: Program, shared: Share, choices: Mapping[str, Choice]) -> TimeSharing:
    """The engine of some layers, with all the output rows that it can have. Raises ValueError as `share`, and where layers are to have
    different lanes, orders or memories."""
    nodes = program.nodes[shared.first : shared.first + shared.count]
    first = nodes[0]
    for node in nodes:
        for name, wanted in asdict(choices[first.name]).items():
            given = getattr(choices[node.name], name)
            if given != wanted:
                raise ValueError(
                    f"{node.name}: {name} must be {wanted!r} like that of {first.name}, with which it shares an engine, not {given!r}"
                )
    engine = share(nodes, shared.ti, shared.c, choices[first.name], most=shared.most, pipeline=shared.pipeline)
    return replace(engine, rows=engine.most_rows)


def _depths(work: Work) -> list[int]:
    """Rows that a ring can have, most first: of one engine's layer up to two more than the least, or a second image; an image where
    layers share an engine."""
    if isinstance(work, TimeSharing):
        return [work.nodes[0].y.size]
    deepest = work.least_depth + (2 if work.order == "row" else work.node.y.size)
    return list(range(deepest, work.least_depth - 1, -1))


def plan_schedules(program: Program, works: Sequence[Work], *, coding: str = "plain") -> Plan:
    """Beats and rings for given tilings, and output rows of shared engines; see `plan_program`."""
    works = list(works)
    channels = [schedules_of(work)[0].node.ci for work in works] + [program.nodes[-1].co]
    least = [1] + [schedules_of(work)[-1].e for work in works]
    depths = [*map(_depths, works), [0]]
    joints = [
        JointPlan(n=max(_beats(count)[0], e), depth=rows[0], coding=coding if 0 < k < len(works) else "plain")
        for k, (count, e, rows) in enumerate(zip(channels, least, depths, strict=True))
    ]

    def timing(trial: list[JointPlan]) -> Timing:
        return run_recurrence(works, tuple(trial), STEADY_IMAGES)

    best = timing(joints)
    most_cycles = int(best.latency * (1 + LATENCY_SLACK))

    def replaced(index: int, **change: int) -> list[JointPlan]:
        return [*joints[:index], replace(joints[index], **change), *joints[index + 1 :]]

    def keeps(trial: list[JointPlan]) -> bool:
        found = timing(trial)
        return found.interval <= best.interval and found.latency <= most_cycles

    for index in range(len(joints)):
        wide = joints[index].n
        options = [wide] + [n for n in _beats(channels[index]) if least[index] <= n < wide]
        joints = replaced(index, n=_search(options, lambda n, index=index: keeps(replaced(index, n=n))))
    for index in range(len(works)):
        joints = replaced(index, depth=_search(depths[index], lambda d, index=index: keeps(replaced(index, depth=d))))
    for index, work in enumerate(works):
        if isinstance(work, TimeSharing):
            for rows in range(OUTPUT_ROWS, work.rows):
                works[index] = replace(work, rows=rows)
                if keeps(joints):
                    break
            else:
                works[index] = work
    final = timing(joints)
    return Plan(
        program=program_hash(program),
        engines=tuple(map(EnginePlan.of, works)),
        joints=tuple(joints),
        cycles=final.latency,
        interval=final.interval,
        resources=resources(works, joints),
    )


def resources(works: Sequence[Work], joints: list[JointPlan]) -> dict[str, int]:
    """Multipliers and memory bits that the Plan asks for."""
    ring = rows = sums = weights = buffers = coders = 0
    for work, before in zip(works, joints, strict=False):
        if isinstance(work, TimeSharing):
            last, frames = work.layers[-1].node, FrameLayout(work, n=before.n)
            bits = max(int(node.input.bits) for node in work.nodes)
            ring += frames.banks * frames.bank_words * work.ti * bits
            rows += work.rows * work.layers[-1].visit.unit_rows * last.x.output * last.co * last.output.bits
            if work.order == "weight":
                sums += 2 * work.sum_places * work.c * max(node.dot_bits for node in work.nodes)
            weights += 0 if work.external else work.image_bits
            buffers += work.buffer_bits
            continue
        schedule = work
        node = schedule.node
        layout = RingLayout(schedule, n=before.n, depth=before.depth)
        ring += layout.banks * layout.bank_words * layout.lanes * node.input.bits
        rows += OUTPUT_UNITS * schedule.visit.unit_rows * node.x.output * node.co * node.output.bits
        if isinstance(schedule.visit, WeightVisit):
            sums += 2 * schedule.visit.places * schedule.p * schedule.to * node.dot_bits
        weights += 0 if schedule.external else schedule.image_bits
        if before.coding == "rle":
            coders += memory_bits(wire_shape(node.input), before.n)
        buffers += schedule.buffer_bits
    return {
        "lanes": sum(work.lanes for work in works),
        "requantisers": sum(work.e for work in works),
        "ring_bits": ring,
        "output_row_bits": rows,
        "sum_bits": sums,
        "joint_bits": coders,
        "weight_bits": weights,
        "buffer_bits": buffers,
    }
