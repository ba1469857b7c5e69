"""Plans within budgets: no limit is exceeded, nothing faster fits, and what is said of them is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organza.board import load_board
from organza.codes import Linear
from organza.errors import UserError
from organza.program import Program
from organza_sim import resource_runs
from organza_sim.budget import Budget
from organza_sim.budget_planner import SHARED_GAIN, lines, plan_within
from organza_sim.planner import plan_program
from organza_sim.resources.model import Estimator
from organza_sim.sharing import fastest_share, least_lanes
from organza_sim.tilings import Choice
from tests.tiny import tiny_program

PROGRAM = tiny_program()
ESTIMATOR = Estimator(PROGRAM)  # knows the engines of all tests


def within(**limits):
    return plan_within(PROGRAM, Budget(**limits), estimator=ESTIMATOR, shares=())


def points():
    """Every Plan of so few lanes, with what it takes."""
    for lanes in range(least_lanes(PROGRAM), 60):
        plan = plan_program(PROGRAM, lanes)
        yield plan, ESTIMATOR.plan(plan)


def test_lanes_alone_give_the_plan_that_they_always_gave() -> None:
    planned = within(lanes=6)
    assert planned.plan == plan_program(PROGRAM, 6) and planned.binds == "lanes"
    step = planned.following
    assert step is not None and step.resource == "lanes" and step.amount > 6
    assert plan_program(PROGRAM, step.amount).interval < planned.plan.interval == plan_program(PROGRAM, step.amount - 1).interval
    assert step.images_per_second == 1e8 / plan_program(PROGRAM, step.amount).interval


@pytest.mark.parametrize("limits", [{"luts": 2600}, {"multipliers": 14}, {"luts": 3000, "multipliers": 19}, {"luts": 3000, "lanes": 7}])
def test_the_fastest_within_all_limits(limits: dict) -> None:
    """Against every number of lanes, one by one."""
    planned = plan_within(PROGRAM, Budget(**limits), estimator=ESTIMATOR, arithmetic={}, shares=())
    used = ESTIMATOR.plan(planned.plan)
    assert planned.used == used and not planned.budget.over(used)
    most = limits.get("lanes", 60)
    fits = [plan for plan, taken in points() if not planned.budget.over(taken) and plan.lanes <= most]
    assert planned.plan.interval == min(plan.interval for plan in fits)
    step = planned.following
    assert planned.binds == (step.resource if step else "model")
    if step is not None and step.resource != "lanes":
        assert step.amount > limits[step.resource] and step.images_per_second >= planned.images_per_second


@pytest.mark.full
def test_few_multipliers_are_shared_or_done_without() -> None:
    """Where multipliers are the limit, two products out of one are tried; but not where lanes are given."""
    program = resource_runs.program_of(resource_runs.ROWS["int8 generator, 24 lanes"])
    budget = Budget(multipliers=40, luts=20_000)
    plain, free = (plan_within(program, budget, arithmetic=given, shares=()) for given in ({}, None))
    assert plain.binds == "multipliers" and free.images_per_second > plain.images_per_second
    assert {engine.arithmetic for engine in free.plan.engines} == {"packed"} and free.used.multipliers <= 40


def test_a_bandwidth_is_kept_up_with_by_the_fewest_lanes() -> None:
    planned = within(bandwidth=150e6)
    floor = planned.budget.least_interval(PROGRAM)
    assert planned.binds == "bandwidth" and planned.plan.interval <= floor
    assert plan_program(PROGRAM, planned.plan.lanes - 1).interval > floor
    assert planned.images_per_second == pytest.approx(150e6 / (8 * 40), rel=0.01)
    assert "limit: bandwidth; the next step, " in lines(planned.report())[1] and "Mbit/s" in lines(planned.report())[1]


def test_more_than_the_model_can_use() -> None:
    planned = within(lanes=4000)
    assert planned.binds == "model" and planned.following is None
    assert lines(planned.report())[1] == "limit: the model; more lanes would not make it faster"


def test_the_host_of_a_board_takes_its_share() -> None:
    board = load_board("ulx3s-25f")
    planned = plan_within(PROGRAM, Budget.of_board(board, "ulx3s-25f", luts=4500), estimator=ESTIMATOR, arithmetic={}, shares=())
    assert planned.host.luts > 1000 and planned.used.luts <= 4500 and planned.resources.luts == planned.used.luts - planned.host.luts
    report = planned.report()
    assert report["board"] == "ulx3s-25f" and report["limits"]["luts"] == 4500 and report["used"]["luts"] == planned.used.luts
    assert report["images_per_second"] == pytest.approx(125e6 / planned.plan.interval, abs=0.1)
    assert f"{planned.used.luts:,} LUTs of 4,500" in lines(report)[0]


def test_latency() -> None:
    fast = plan_within(PROGRAM, Budget(lanes=9), goal="latency", estimator=ESTIMATOR, shares=())
    assert fast.plan.cycles <= plan_program(PROGRAM, 9).cycles and fast.plan.lanes <= 9
    with pytest.raises(UserError, match="needs a limit of lanes or of a device"):
        plan_within(PROGRAM, Budget(bandwidth=1e6), goal="latency", estimator=ESTIMATOR)
    with pytest.raises(ValueError, match="Goal must be 'interval' or 'latency', not 'best'"):
        plan_program(PROGRAM, 9, goal="best")


def sharing(**limits):
    """What every number of lanes takes on one engine, as far as a budget allows."""
    for lanes in range(1, 12):
        plan = plan_program(PROGRAM, lanes, shares=(fastest_share(PROGRAM, lanes),))
        if not Budget(**limits).over(ESTIMATOR.plan(plan)):
            yield plan


def test_one_engine_for_all_layers_where_that_is_the_better_use_of_a_device() -> None:
    """Alone in fitting, faster, and faster by too little."""
    seen = set()
    for multipliers in (4, 10, 14):
        planned = plan_within(PROGRAM, Budget(multipliers=multipliers), estimator=ESTIMATOR, arithmetic={})
        alone = [plan for plan, taken in points() if taken.multipliers <= multipliers]
        together = min(plan.interval for plan in sharing(multipliers=multipliers))
        best = min((plan.interval for plan in alone), default=None)
        wins = best is None or together * SHARED_GAIN < best
        seen.add((best is None, wins))
        assert planned.plan.interval == (together if wins else best)
        assert [len(engine.layers) for engine in planned.plan.engines] == ([len(PROGRAM.nodes)] if wins else [1] * len(PROGRAM.nodes))
        assert bool(planned.report()["shared"]) == wins and any(line.startswith("shared: ") for line in lines(planned.report())) == wins
        assert not planned.budget.over(planned.used)
    assert seen == {(True, True), (False, True), (False, False)}


def test_one_engine_for_the_latency_of_an_image() -> None:
    alone, free = (plan_within(PROGRAM, Budget(lanes=12), goal="latency", estimator=ESTIMATOR, shares=given) for given in ((), None))
    assert free.plan.cycles * SHARED_GAIN < alone.plan.cycles and len(free.plan.engines) == 1
    kept = plan_within(PROGRAM, Budget(lanes=12), goal="latency", estimator=ESTIMATOR, orders={PROGRAM.nodes[0].name: "weight"})
    assert len(kept.plan.engines) == len(PROGRAM.nodes)  # shared engines know no such order


def wide_program() -> Program:
    """`tiny_program` with an output of two channels."""
    first, last = PROGRAM.nodes
    twice = {name: np.repeat(getattr(last.epilogue, name), 2) for name in ("bias", "positive", "negative", "shift")}
    weights = np.concatenate([last.code.integers()] * 2, axis=1)
    return Program((first, replace(last, code=Linear(weights), epilogue=replace(last.epilogue, **twice))))


@pytest.mark.full
def test_lanes_of_pairs_on_one_engine() -> None:
    """They need two output channels at once, also on the fewest lanes; where a layer has only one, none are tried."""
    program = wide_program()
    assert [(one.ti, one.c) for one in (fastest_share(program, lanes, Choice("packed")) for lanes in (2, 6))] == [(1, 2), (3, 2)]
    with pytest.raises(ValueError, match="Lanes to share must be at least 2, not 1"):
        fastest_share(program, 1, Choice("packed"))
    with pytest.raises(ValueError, match="'packed' lanes must have at least 2 output channels"):
        fastest_share(PROGRAM, 2, Choice("packed"))
    for tried, pairs in ((program, True), (PROGRAM, False)):
        planned, plain = (plan_within(tried, Budget(multipliers=8), arithmetic=given) for given in (None, {}))
        assert planned.used.multipliers <= 8 and planned.plan.interval <= plain.plan.interval
        assert plain.binds == "multipliers" and (planned.plan.interval < plain.plan.interval) >= pairs
