"""Plans on disk and against their Program."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from organza.errors import UserError
from organza.plan import EnginePlan, JointPlan, LayerPlan, Plan, dump_plan, load_plan
from organza.program_file import program_hash
from organza.schedule import Schedule
from tests.strategies import random_program


@pytest.fixture(scope="module")
def program():
    return random_program(np.random.default_rng(5), 2)


@pytest.fixture(scope="module")
def plan(program):
    depths = [Schedule(node=node, ti=1, to=1).least_depth for node in program.nodes]
    return Plan(
        program=program_hash(program),
        engines=tuple(EnginePlan(Ti=1, C=1, E=1, layers=(LayerPlan(node=n.name, To=1),)) for n in program.nodes),
        joints=(*(JointPlan(n=1, depth=depth) for depth in depths), JointPlan(n=1, depth=0)),
        cycles=10,
        interval=5,
        resources={"lanes": 2},
    )


def test_round_trip(plan, tmp_path):
    dump_plan(plan, tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_schedules(plan, program):
    assert [schedule.lanes for schedule in plan.schedules(program)] == [1, 1]
    assert plan.lanes == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"program": "0" * 64}, r"^Plan belongs to Program 000000000000…, not to [0-9a-f]{12}…$"),
        (lambda p: {"engines": p.engines[:1]}, r"^Plan must have engines for 2 layers, not 1$"),
        (lambda p: {"joints": p.joints[:2]}, r"^Plan must have 3 joints, not 2$"),
        (lambda p: {"engines": p.engines[::-1]}, r"^Plan engine must run the layer 'layer0', not \['layer1'\]$"),
        (
            lambda p: {"engines": (replace(p.engines[0], C=2), p.engines[1])},
            r"^layer0: C must be To·P = 1, not 2$",
        ),
        (
            lambda p: {"joints": (replace(p.joints[0], depth=0), *p.joints[1:])},
            r"^layer0: ring depth must be at least \d+, not 0$",
        ),
        (
            lambda p: {"joints": (replace(p.joints[0], n=0), *p.joints[1:])},
            r"^layer0: joint n must be between 1 and \d+, not 0$",
        ),
        (
            lambda p: {"joints": (*p.joints[:2], replace(p.joints[2], n=99))},
            r"^layer1: n after it must be between E = 1 and \d+, not 99$",
        ),
        (
            lambda p: {
                "engines": (replace(p.engines[0], layers=(replace(p.engines[0].layers[0], order="column"),)),
                            p.engines[1])
            },
            r"^layer0: order must be 'row' or 'weight', not 'column'$",
        ),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_fit(plan, program, change, message):
    with pytest.raises(ValueError, match=message):
        replace(plan, **change(plan)).schedules(program)


def damaged(data: dict, *path, value) -> dict:
    data = json.loads(json.dumps(data))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: "nonsense", r"plan\.json: not a Plan \("),
        (lambda d: json.dumps([1]), r"plan\.json: Plan version must be 2; plan the Program again$"),
        (lambda d: json.dumps({**d, "version": 99}), r"plan\.json: Plan version must be 2"),
        (lambda d: json.dumps({k: v for k, v in d.items() if k != "engines"}), r"not a Plan of this version"),
        (lambda d: json.dumps({**d, "surprise": 1}), r"not a Plan of this version .*surprise"),
        (lambda d: json.dumps(damaged(d, "engines", value=7)), r"not a Plan of this version"),
        (lambda d: json.dumps(damaged(d, "joints", value=[{"n": 1}])), r"not a Plan of this version .*depth"),
        (lambda d: json.dumps(damaged(d, "engines", 0, "Ti", value="1")), r"engines\[0\]\.Ti must be an integer"),
        (lambda d: json.dumps(damaged(d, "joints", 1, "n", value=None)), r"joints\[1\]\.n must be an integer"),
        (lambda d: json.dumps(damaged(d, "engines", 0, "layers", 0, "P", value=1.5)), r"P must be an integer"),
    ],
)
def test_a_damaged_file(plan, tmp_path, damage, message):
    path = tmp_path / "plan.json"
    dump_plan(plan, path)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(UserError, match=message):
        load_plan(path)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"missing\.json: no such file$"):
        load_plan(tmp_path / "missing.json")
