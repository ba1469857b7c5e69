"""Plans under several budgets at once, and why they are as they are.

For a number of lanes `plan_program` has the best Plan; what it takes of a device is predicted (`organza_sim.resources.model`). More lanes take more, so
the search is for the most lanes that keep to every limit; where a bandwidth is the limit, for the fewest that keep up with it. Engines of one layer
each and one that all layers share are searched for on their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from organza.errors import UserError
from organza.plan import Plan
from organza.program import Program
from organza_hw.external.reader import image_cycles
from organza_sim.budget import COUNTED, NAMES, Budget
from organza_sim.planner import choices_of, plan_program
from organza_sim.resources.model import Estimator, Resources
from organza_sim.sharing import Share, fastest_share, least_lanes, least_shared_lanes
from organza_sim.tilings import Choice
from organza_sim.ways_out import refuse

MOST_LANES = 1 << 14
EVALUATIONS = 20
GROWTH = 4  # most times as many lanes from one step to the next
CAUTION = 0.95  # of the lanes that a limit seems to allow
CLOSE = 64  # the search ends when one part in so many of the lanes is left
ALTERNATIVES = ("packed", "lut")  # arithmetics of fewer multipliers, tried where those are the limit
SHARED_GAIN = 1.1  # that a shared engine must be faster by: its clock is slower (docs/decisions.md)


@dataclass(frozen=True)
class Step:
    """A larger budget and what it would buy. resource : of `NAMES`. amount : of it in all, bits a second of a bandwidth."""

    resource: str
    amount: int
    images_per_second: float


@dataclass(frozen=True)
class Planned:
    """A Plan within a `Budget`. The memory beside the chip counts where it is slower than the core, though no other Plan is chosen for it.

    resources : of the accelerator; host : of what is around it on a board. binds : which limit, of `NAMES`, or "model": more lanes would
    not help. following : the next larger budget of that. images_per_second : with the budget's clock and bandwidth, and the board's memory.
    """

    plan: Plan
    budget: Budget
    resources: Resources
    host: Resources
    binds: str
    following: Step | None
    images_per_second: float

    @property
    def used(self) -> Resources:
        """Everything."""
        return self.resources + self.host

    def report(self) -> dict[str, Any]:
        """For `report.json`."""
        limits = {"lanes": self.budget.lanes, **{name: self.budget.limits.get(name) for name in COUNTED}}
        used = {"lanes": self.plan.lanes, **{name: getattr(self.used, name) for name in COUNTED}}
        step = self.following
        return {
            "board": self.budget.name or None, "clock_hz": self.budget.clock_hz, "bandwidth": self.budget.bandwidth,
            "used": used, "host": {name: getattr(self.host, name) for name in COUNTED}, "limits": limits, "binds": self.binds,
            "images_per_second": round(self.images_per_second, 1),
            "shared": [
                {"engine": name, "layers": len(engine.layers), "Ti": engine.Ti, "C": engine.C}
                for name, engine in zip(self.plan.engine_names, self.plan.engines, strict=True) if len(engine.layers) > 1
            ],
            "next": None if step is None else {
                "resource": step.resource, "amount": step.amount, "images_per_second": round(step.images_per_second, 1),
            },
        }  # fmt: skip


def lines(report: Mapping[str, Any]) -> list[str]:
    """`Planned.report` for people."""
    used, limits, step = report["used"], report["limits"], report["next"]
    parts = [
        f"{used[name]:,} {NAMES[name]}" + (f" of {limits[name]:,} ({used[name] / max(limits[name], 1):.0%})" if limits[name] is not None else "")
        for name in used
    ]
    made = [f"predicted: {', '.join(parts)}; {report['images_per_second']:,.0f} images/s at {report['clock_hz'] / 1e6:g} MHz"]
    made += [f"shared: {one['layers']} layers, {one['engine']}, on {one['Ti']}×{one['C']} lanes" for one in report["shared"]]
    if report["binds"] == "model":
        return [*made, "limit: the model; more lanes would not make it faster"]
    told = f"limit: {NAMES[report['binds']]}"
    if step is not None:
        gain = step["images_per_second"] / report["images_per_second"] - 1
        amount = f"{step['amount'] / 1e6:,.1f} Mbit/s" if step["resource"] == "bandwidth" else f"{step['amount']:,} {NAMES[step['resource']]}"
        told += f"; the next step, {amount}, would give {step['images_per_second']:,.0f} images/s ({gain:+.0%})"
    return [*made, told]


@dataclass(frozen=True)
class _Point:
    plan: Plan
    resources: Resources
    host: Resources
    over: dict[str, int]

    def share(self, budget: Budget) -> float:
        """Of the limit that is nearest, or exceeded most."""
        used = self.resources + self.host
        return max((getattr(used, name) / max(most, 1) for name, most in budget.limits.items()), default=0.0)


class _Search:
    """Plans by lanes, each made once. options : of `plan_program`. shared : all layers share an engine, of whatever shape is the fastest."""

    def __init__(self, program: Program, budget: Budget, estimator: Estimator, options: dict[str, Any], *, shared: bool = False):
        self.program, self.budget, self.estimator, self.options, self.shared = program, budget, estimator, options, shared
        self.plans: dict[int, Plan] = {}

    @property
    def _given(self) -> Choice:
        """Of all layers, where they share an engine."""
        given = _common(self.program, self.options)
        assert given is not None
        return given

    @property
    def least(self) -> int:
        """Lanes without which there is no Plan."""
        if self.shared:
            return least_shared_lanes(self.program, self._given.arithmetic)
        return least_lanes(self.program, self.options.get("shares", ()))

    def plan(self, lanes: int) -> Plan:
        """The best Plan on at most so many lanes."""
        if lanes not in self.plans:
            options = self.options
            if self.shared:
                options = {**options, "shares": (fastest_share(self.program, lanes, self._given),)}
            self.plans[lanes] = plan_program(self.program, lanes, **options)
        return self.plans[lanes]

    def at(self, lanes: int) -> _Point:
        """The same, with what it takes."""
        plan = self.plan(lanes)
        board = self.budget.board
        made = self.estimator.plan(plan)
        host = Resources() if board is None else self.estimator.host(board, plan)
        return _Point(plan, made, host, self.budget.over(made + host))

    def faster(self, lanes: int) -> int | None:
        """The fewest lanes that are faster than so many; None if none are."""
        interval, low, high = self.plan(lanes).interval, lanes, 2 * lanes
        while self.plan(high).interval >= interval:
            if high >= MOST_LANES or self.plan(high).lanes < high // 2:
                return None
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.plan(middle).interval < interval else (middle, high)
        return high

    def most(self, least: int, most: int) -> tuple[int, _Point, int | None, _Point | None]:
        """The most lanes within the limits, and the fewest that were found to be beyond; what they take."""
        low, best = least, self.at(least)
        high, beyond = None, None
        for _ in range(EVALUATIONS):
            if low >= most or (high is not None and high - low <= max(1, low // CLOSE)):
                break
            if high is None or beyond is None:
                room = best.share(self.budget)
                guess = int(low * min(GROWTH, CAUTION / room if room else GROWTH))
                following = min(most, max(guess, low + max(1, low // CLOSE)))
            else:
                # Where a straight line between both would meet the limit.
                inside, outside = best.share(self.budget), beyond.share(self.budget)
                part = (1 - inside) / (outside - inside) if outside > inside else 0.5
                following = min(max(low + int((high - low) * min(max(part, 0.1), 0.9)), low + 1), high - 1)
            if following > low and self.plan(following).engines == best.plan.engines:
                if following == most or self.faster(following) is None:
                    low = most
                    break
                low = following
                continue
            point = self.at(following)
            if point.over:
                high, beyond = following, point
            else:
                low, best = following, point
        return low, best, high, beyond


def plan_within(
    program: Program,
    budget: Budget,
    *,
    goal: str = "interval",
    arithmetic: Mapping[str, str] | None = None,
    shares: Sequence[Share] | None = None,
    estimator: Estimator | None = None,
    **options: Any,
) -> Planned:
    """The fastest Plan within all limits of a budget, and what is said of it.

    arithmetic : by layer, as of `plan_program`. Without it, lanes that share a multiplier or need none are tried where multipliers are the limit.
    shares : as of `plan_program`. Without it, an engine that all layers share is tried where there is a device's limit, or for the latency; it must be
    faster by `SHARED_GAIN`, or the only one that fits. estimator : of the Program, if there is one that knows some of its engines. options : others of `plan_program`.

    Raises as `plan_program`, and `UserError` where even the fewest lanes do not fit, with what would help.
    """
    known = Estimator(program) if estimator is None else estimator

    def search(chosen: Mapping[str, str], *, shared: bool = False) -> Planned:
        given = {"goal": goal, "arithmetic": chosen, "shares": shares or (), **options}
        return _planned(_Search(program, budget, known, given, shared=shared))

    def fastest(*, shared: bool) -> Planned:
        best = search(arithmetic or {}, shared=shared)
        if arithmetic is None and best.binds == "multipliers" and not shares:
            for kind in ALTERNATIVES:
                able = {node.name: kind for node in program.nodes if kind in node.code.lanes_for(node.input)}
                if able and (not shared or _can_share(program, able, options)):
                    best = max(best, search(able, shared=shared), key=lambda planned: _merit(planned, goal))
        return best

    found: list[Planned] = []
    refusal: UserError | None = None
    try_shared = shares is None and (budget.limits or goal == "latency") and _can_share(program, arithmetic or {}, options)
    for shared in (False, True) if try_shared else (False,):
        try:
            found.append(fastest(shared=shared))
        except UserError as error:
            refusal = refusal or error  # of engines of one layer, where neither fits
    if not found:
        assert refusal is not None
        raise refusal
    if len(found) == 1:
        return found[0]
    alone, together = found
    ours, others = _merit(together, goal)[0], _merit(alone, goal)[0]
    return together if ours > (others * SHARED_GAIN if goal == "interval" else others / SHARED_GAIN) else alone


def _can_share(program: Program, arithmetic: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Whether all layers can be on one engine, with what is asked of them."""
    given = _common(program, {**options, "arithmetic": arithmetic})
    try:
        return given is not None and bool(fastest_share(program, least_shared_lanes(program, given.arithmetic), given))
    except ValueError:
        return False


def _common(program: Program, options: Mapping[str, Any]) -> Choice | None:
    """What is given of every layer; None where it is not the same of all."""
    first, *others = choices_of(program, options.get("arithmetic"), options.get("orders"), options.get("memories")).values()
    return first if all(one == first for one in others) else None


def _merit(planned: Planned, goal: str) -> tuple[float, ...]:
    return (planned.images_per_second,) if goal == "interval" else (-planned.plan.cycles, planned.images_per_second)


def _planned(search: _Search) -> Planned:
    program, budget = search.program, search.budget
    least = search.least
    if budget.lanes is not None and budget.lanes < least:
        search.plan(budget.lanes)  # refuses, unless shared engines need fewer lanes than they may have
        least = budget.lanes
    first = search.at(least)
    if first.over:
        refuse(program, budget, first.plan, first.resources + first.host, search.options)
    floor = budget.least_interval(program, search.options.get("memories"))
    if search.options["goal"] == "latency":
        if budget.lanes is None and not budget.limits:
            raise UserError("the latency of an image needs a limit of lanes or of a device, not only a bandwidth")
    most = MOST_LANES if budget.lanes is None else max(budget.lanes, least)
    # A bandwidth says how many images there can be, not how long one may take.
    enough = most if search.options["goal"] == "latency" else _enough(search, least, most, floor)
    lanes, point, beyond, outside = search.most(least, enough) if budget.limits else (enough, search.at(enough), None, None)
    if floor and point.plan.interval <= floor and search.options["goal"] == "interval":
        return _made(search, point, "bandwidth", _bandwidth_step(search, point, floor), floor)
    if outside is not None and beyond is not None:
        name = max(outside.over, key=lambda name: getattr(outside.resources + outside.host, name) / max(budget.limits[name], 1))
        step = Step(name, getattr(outside.resources + outside.host, name), _rate(search, outside.plan, floor))
        return _made(search, point, name, step, floor)
    more = search.faster(lanes)
    if more is None:
        return _made(search, point, "model", None, floor)
    return _made(search, point, "lanes", Step("lanes", more, _rate(search, search.plan(more), floor)), floor)


def _enough(search: _Search, least: int, most: int, interval: int) -> int:
    """The fewest lanes that keep to an interval; at most so many, and no more than there is work for."""
    if not interval:
        return most
    low, high = least, least
    while search.plan(high).interval > interval:
        if high == most or search.plan(high).lanes < high // 2:
            return high
        low, high = high, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if search.plan(middle).interval <= interval else (middle + 1, high)
    return low


def _bandwidth_step(search: _Search, point: _Point, floor: int) -> Step:
    """The bandwidth that this very Plan could use."""
    budget = search.budget
    assert budget.bandwidth is not None
    rate = budget.clock_hz / point.plan.interval
    return Step("bandwidth", math.ceil(budget.bandwidth * floor / point.plan.interval), rate)


def _rate(search: _Search, plan: Plan, floor: int) -> float:
    return search.budget.clock_hz / max(plan.interval, floor, _memory_cycles(search, plan))


def _memory_cycles(search: _Search, plan: Plan) -> float:
    """Of an image, in the board's memory."""
    board = search.budget.board
    return 0.0 if board is None else image_cycles(search.program, plan, board)


def _made(search: _Search, point: _Point, binds: str, step: Step | None, floor: int) -> Planned:
    rate = _rate(search, point.plan, floor)
    if _memory_cycles(search, point.plan) > max(point.plan.interval, floor):
        binds, step = "memory", None
    return Planned(point.plan, search.budget, point.resources, point.host, binds, step, rate)
