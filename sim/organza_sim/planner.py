"""The planner: lanes, beats and rings for every layer, so that images follow each other as fast as a budget allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from operator import mul

from organza.blocks import blocks
from organza.geometry import Axis
from organza.plan import EnginePlan, JointPlan, Plan
from organza.program import Convolve, Program
from organza.program_file import program_hash
from organza.run_length import CODINGS
from organza.schedule import MOST_WORD_BITS, Schedule, ceil_div
from organza_hw.formats import wire_shape
from organza_hw.joint_rle import memory_bits
from organza_hw.row_buffer import RingLayout
from organza_hw.sequencer import OUTPUT_UNITS
from organza_sim.cycles import Timing, run_recurrence

DEFAULT_LANES = 133  # of 96…160 lanes the best utilisation of the shipped generator
WIDEST_BEAT = 16
LATENCY_SLACK = 0.005
PAUSE_SLACK = 0.1  # of a layer whose lanes wait for the epilogue after every tile: cycles that fewer multipliers may cost
STEADY_IMAGES = 6


@dataclass(frozen=True, order=True)
class Tiling:
    """Ti × To × P lanes for a layer and the cycles they take; ordered by cycles, then lanes, then pixel lanes."""

    cycles: int
    lanes: int
    p: int
    to: int
    ti: int


def _useful(extent: int, most: int) -> list[int]:
    """Smallest tile for each number of tiles that `extent` channels can be cut into, up to `most`."""
    return sorted({ceil_div(extent, tiles) for tiles in range(1, extent + 1) if ceil_div(extent, tiles) <= most})


def _pixel_sums(axis: Axis, most: int) -> dict[int, tuple[int, ...]]:
    """For every useful P: for each horizontal tap the blocks in which any pixel has it; blocks without any; blocks.

    Where blocks begin decides which taps their pixels share, so any P may be the best. Left out are those that no
    count speaks for against a smaller one.
    """
    made: dict[int, tuple[int, ...]] = {}
    for p in range(1, min(ceil_div(axis.output, axis.phases), most) + 1):
        row = blocks(axis, p)
        counts = Counter(tap.k for block in row for tap in block.taps)
        sums = *(counts[k] for k in range(axis.kernel)), sum(not block.taps for block in row), len(row)
        if not any(all(a <= b for a, b in zip(other, sums, strict=True)) for other in made.values()):
            made[p] = sums
    return made


def _lane_shapes(node: Convolve, most: int, arithmetic: str) -> list[tuple[int, int]]:
    """Useful (Ti, To) of at most `most` lanes, as far as the code leaves a choice."""
    fixed_ti, fixed_to = node.code.lane_shape
    cig, cog = node.ci // node.groups, node.co // node.groups
    most = min(most, MOST_WORD_BITS // node.code.field_bits)
    most_ti = node.code.most_ti(arithmetic, cig)

    def inputs(most: int) -> list[int]:
        if fixed_ti:
            return [fixed_ti]
        # Non-zeros of a unit can be any number, so any Ti may divide them best.
        return list(range(1, min(most_ti, most) + 1)) if node.code.gathers else _useful(cig, min(most_ti, most))

    outputs = [fixed_to] if fixed_to else _useful(cog, most // (fixed_ti or 1))
    return [(ti, to) for to in outputs for ti in inputs(most // to)]


def _least_lanes(node: Convolve) -> int:
    """Lanes without which a layer cannot run."""
    ti, to = node.code.lane_shape
    return (ti or 1) * (to or 1)


def tilings(node: Convolve, budget: int, arithmetic: str = "") -> list[Tiling]:
    """Tilings of a layer that no other one beats in both lanes and cycles, fewest lanes first.

    `Schedule.cycles` for enough epilogue units, evaluated for all tilings at once.
    """
    cog = node.co // node.groups

    @cache
    def column_issues(ti: int, to: int) -> list[int]:
        """Issues of every horizontal tap over all rows and co tiles, once a block that has it."""
        return (node.y.uses @ node.code.tap_issues(ti, to, node.groups).sum(0)).tolist()

    empty_rows = sum(not taps for taps in node.y.table)
    rows = node.y.output
    found: dict[int, Tiling] = {}
    for p, (*column_blocks, empty_blocks, row_blocks) in _pixel_sums(node.x, min(budget, node.x.output)).items():
        empty = empty_rows * row_blocks + (rows - empty_rows) * empty_blocks
        for ti, to in _lane_shapes(node, budget // p, arithmetic):
            if ti * to * p <= budget:
                issues = sum(map(mul, column_blocks, column_issues(ti, to)))
                lanes, co_tiles = ti * to * p, node.groups * ceil_div(cog, to)
                pauses = rows * row_blocks * co_tiles * p * node.code.sum_cycles(arithmetic)
                option = Tiling(issues + co_tiles * empty + pauses, lanes, p, to, ti)
                if lanes not in found or option < found[lanes]:
                    found[lanes] = option
    front: list[Tiling] = []
    for _, option in sorted(found.items()):
        if not front or option.cycles < front[-1].cycles:
            front.append(option)
    return front


def _fewest_lanes(fronts: list[list[Tiling]], interval: int) -> list[Tiling] | None:
    """The tiling with the fewest lanes of every layer that keeps to `interval` cycles."""
    chosen = [next((option for option in front if option.cycles <= interval), None) for front in fronts]
    return None if None in chosen else chosen  # type: ignore[return-value]


def choose_tilings(program: Program, budget: int, arithmetic: Mapping[str, str] | None = None) -> list[Tiling]:
    """Tilings of all layers with the shortest possible interval on at most `budget` lanes, then with the fewest lanes.

    arithmetic : see `plan_program`.

    Raises ValueError when the budget is below one lane a layer.
    """
    least = sum(map(_least_lanes, program.nodes))
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise TypeError(f"Lane budget must be an integer, not {budget!r}")
    if budget < least:
        fixed = "" if least == len(program.nodes) else " or what its code is made for"
        raise ValueError(f"Lane budget must be at least {least}, one for each layer{fixed}, not {budget}")
    arithmetic = arithmetic or {}
    fronts = [
        tilings(node, budget - least + _least_lanes(node), arithmetic.get(node.name, "")) for node in program.nodes
    ]
    intervals = sorted({option.cycles for front in fronts for option in front})
    low, high = 0, len(intervals) - 1
    while low < high:  # the shortest interval that fits: lanes fall as the interval grows
        middle = (low + high) // 2
        chosen = _fewest_lanes(fronts, intervals[middle])
        if chosen and sum(option.lanes for option in chosen) <= budget:
            high = middle
        else:
            low = middle + 1
    chosen = _fewest_lanes(fronts, intervals[low])
    assert chosen is not None
    return chosen


def _least_epilogue(node: Convolve, tiling: Tiling, arithmetic: str) -> Schedule:
    """The schedule with the fewest epilogue units that do not slow the layer down, by more than `PAUSE_SLACK` if lanes wait."""
    options = [
        Schedule(node=node, ti=tiling.ti, to=tiling.to, p=tiling.p, e=e, arithmetic=arithmetic)
        for e in range(1, tiling.to + 1)
    ]
    most = options[-1].cycles * (1 + PAUSE_SLACK) if options[-1].pause else options[-1].issues
    return next((schedule for schedule in options if schedule.cycles <= most), options[-1])


def _beats(channels: int) -> list[int]:
    """Sensible channels a beat, widest first: whole parts of a pixel, which also keeps the rotation networks small."""
    most = min(channels, WIDEST_BEAT)
    whole = [n for n in range(1, most + 1) if channels % n == 0]
    return sorted(whole if len(whole) > 1 else _useful(channels, most), reverse=True)


def _search(values: list[int], good: Callable[[int], bool]) -> int:
    """The last of `values` up to which all are good; the first is taken as good."""
    best = values[0]
    for value in values[1:]:
        if not good(value):
            break
        best = value
    return best


def plan_program(
    program: Program, lanes: int, *, arithmetic: Mapping[str, str] | None = None, coding: str = "plain"
) -> Plan:
    """The Plan with the shortest interval on at most `lanes` multipliers.

    Tilings come from an exhaustive search of the closed form. Beats and rings are then made as small as the exact
    recurrence allows: the interval must not grow, nor the cycles of one image by more than `LATENCY_SLACK`.

    arithmetic : lanes by layer name, see `Code.arithmetics`; the code's first choice for layers that are not in it.
    coding : of the joints between engines, see `JointPlan`.

    Raises TypeError / ValueError for a budget that is no integer, or below one lane a layer, for lanes that a code
    does not have, and for a coding that does not exist.
    """
    if coding not in CODINGS:
        raise ValueError(f"Joint coding must be {' or '.join(map(repr, CODINGS))}, not {coding!r}")
    arithmetic = arithmetic or {}
    schedules = [
        _least_epilogue(node, tiling, arithmetic.get(node.name, ""))
        for node, tiling in zip(program.nodes, choose_tilings(program, lanes, arithmetic), strict=True)
    ]
    return plan_schedules(program, schedules, coding=coding)


def plan_schedules(program: Program, schedules: list[Schedule], *, coding: str = "plain") -> Plan:
    """Beats and rings for given tilings; see `plan_program`."""
    channels = [node.ci for node in program.nodes] + [program.nodes[-1].co]
    least = [1] + [schedule.e for schedule in schedules]
    joints = [
        JointPlan(
            n=max(_beats(count)[0], e), depth=schedule.least_depth + 2 if schedule else 0,
            coding=coding if schedule and k else "plain",
        )
        for k, (count, e, schedule) in enumerate(zip(channels, least, [*schedules, None], strict=True))
    ]

    def timing(trial: list[JointPlan]) -> Timing:
        return run_recurrence(schedules, tuple(trial), STEADY_IMAGES)

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
    for index, schedule in enumerate(schedules):
        deep = joints[index].depth
        depths = list(range(deep, schedule.least_depth - 1, -1))
        joints = replaced(index, depth=_search(depths, lambda d, index=index: keeps(replaced(index, depth=d))))
    final = timing(joints)
    return Plan(
        program=program_hash(program),
        engines=tuple(map(EnginePlan.of, schedules)),
        joints=tuple(joints),
        cycles=final.latency,
        interval=final.interval,
        resources=resources(schedules, joints),
    )


def resources(schedules: list[Schedule], joints: list[JointPlan]) -> dict[str, int]:
    """Multipliers and memory bits that the Plan asks for."""
    ring = rows = weights = buffers = coders = 0
    for schedule, before in zip(schedules, joints, strict=False):
        node = schedule.node
        layout = RingLayout(schedule, n=before.n, depth=before.depth)
        ring += layout.banks * layout.bank_words * layout.lanes * node.input.bits
        rows += OUTPUT_UNITS * schedule.visit.unit_rows * node.x.output * node.co * node.output.bits
        weights += node.code.stored_bits
        if before.coding == "rle":
            coders += memory_bits(wire_shape(node.input), before.n)
        buffers += schedule.buffer_bits
    return {
        "lanes": sum(schedule.lanes for schedule in schedules),
        "requantisers": sum(schedule.e for schedule in schedules),
        "ring_bits": ring,
        "output_row_bits": rows,
        "joint_bits": coders,
        "weight_bits": weights,
        "buffer_bits": buffers,
    }
