"""The planner against exhaustive search, and the numbers that Organza promises."""

import dataclasses
import itertools
import json
import re

import numpy as np
import pytest

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.errors import UserError
from organza.formats import Fixed
from organza.geometry import Axis
from organza.plan import JointPlan, dump_plan, load_plan
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza_sim.cycles import run_recurrence, simulate_cycles
from organza_sim.planner import DEFAULT_LANES, plan_program
from organza_sim.tilings import choose_tilings, tilings
from tests.organza_sim.layer_cases import case
from tests.strategies import random_convolve, random_program


def deconvolutions(*layers):
    """A generator of (ci, co, size, kernel, stride, padding) layers with 8-bit weights."""
    nodes, form = [], Fixed(8, True, 1.0)
    for number, (ci, co, size, k, stride, padding) in enumerate(layers):
        axis = Axis(size=size, kernel=k, up=stride, crop_before=padding, crop_after=padding)
        rule = Epilogue(np.zeros(co, int), np.full(co, 16000), np.zeros(co, int), np.full(co, 24), 0, 255)
        code = Linear(np.ones((ci, co, k, k), int))
        nodes.append(Convolve(name=f"layer{number}", y=axis, x=axis, groups=1, code=code, epilogue=rule, input=form,
                              output=Fixed(8, False, 1.0)))  # fmt: skip
        form = nodes[-1].output
    return Program(tuple(nodes))


SHIPPED = ((64, 64, 1, 4, 1, 0), (64, 32, 4, 4, 2, 1), (32, 16, 8, 4, 2, 1), (16, 1, 16, 4, 2, 1))
DCGAN64 = ((100, 512, 1, 4, 1, 0), (512, 256, 4, 4, 2, 1), (256, 128, 8, 4, 2, 1), (128, 64, 16, 4, 2, 1),
           (64, 3, 32, 4, 2, 1))  # fmt: skip
ONE = ((64, 32, 8, 4, 2, 1),)


def brute_cycles(node, ti, to, p):
    """Issues of a layer, walked one by one from the definition of a Convolve."""
    cig, cog = node.ci // node.groups, node.co // node.groups
    cycles = 0
    for y, _tile in itertools.product(range(node.y.output), range(node.groups * -(-cog // to))):
        rows = [k for k in range(node.y.kernel)
                if (d := y * node.y.down + node.y.crop_before - k) % node.y.up == 0
                and 0 <= d // node.y.up < node.y.size]  # fmt: skip
        period = node.x.up // np.gcd(node.x.up, node.x.down)
        for phase in range(period):
            columns = list(range(phase, node.x.output, period))
            for start in range(0, len(columns), p):
                taps = {k for x in columns[start : start + p] for k in range(node.x.kernel)
                        if (d := x * node.x.down + node.x.crop_before - k) % node.x.up == 0
                        and 0 <= d // node.x.up < node.x.size}  # fmt: skip
                cycles += max(len(rows) * len(taps) * -(-cig // ti), 1)
    return cycles


def every_tiling(node, budget):
    for ti, to, p in itertools.product(range(1, node.ci // node.groups + 1), range(1, node.co // node.groups + 1),
                                       range(1, node.x.output + 1)):  # fmt: skip
        if ti * to * p <= budget:
            yield ti, to, p


def test_closed_form_is_what_walking_gives():
    for seed in range(70):
        schedule = case(seed).schedules[0]
        wide = Schedule(node=schedule.node, ti=schedule.ti, to=schedule.to, p=schedule.p, e=schedule.to)
        assert wide.issues == brute_cycles(wide.node, wide.ti, wide.to, wide.p)
        if wide.p == 1:
            assert wide.cycles == wide.issues


@pytest.mark.parametrize("seed", range(12))
def test_no_tiling_beats_the_front(seed):
    """Every tiling has one in the front that is no worse in lanes and cycles."""
    node = random_convolve(np.random.default_rng(seed), max_channels=6)
    front = tilings(node, 24)
    assert all(a.lanes < b.lanes and a.cycles > b.cycles for a, b in itertools.pairwise(front))
    for option in front:
        assert option.lanes == option.ti * option.to * option.p
        assert option.cycles == brute_cycles(node, option.ti, option.to, option.p)
    for ti, to, p in every_tiling(node, 24):
        cycles = brute_cycles(node, ti, to, p)
        assert any(option.lanes <= ti * to * p and option.cycles <= cycles for option in front)


@pytest.mark.parametrize("seed", range(8))
def test_shortest_interval_of_all(seed):
    """Small chains: no choice of lanes for all layers within the budget has a shorter slowest layer."""
    program = random_program(np.random.default_rng(seed), 2 + seed % 2, max_channels=4, max_positions=16)
    for budget in (len(program.nodes), 9, 17):
        best: dict[int, int] = {0: 0}  # lanes used: shortest slowest layer
        for node in program.nodes:
            least: dict[int, int] = {}
            for ti, to, p in every_tiling(node, budget):
                cycles = brute_cycles(node, ti, to, p)
                least[ti * to * p] = min(cycles, least.get(ti * to * p, cycles))
            grown: dict[int, int] = {}
            for used, slowest in best.items():
                for lanes, cycles in least.items():
                    if used + lanes <= budget:
                        value = max(slowest, cycles)
                        grown[used + lanes] = min(value, grown.get(used + lanes, value))
            best = grown
        chosen = choose_tilings(program.nodes, budget)
        found = max(option.cycles for option in chosen)
        assert found == min(best.values())
        # No fewer lanes do it either.
        assert sum(option.lanes for option in chosen) == min(n for n, slowest in best.items() if slowest == found)


@pytest.mark.parametrize("seed", range(6))
def test_beats_and_rings_cost_nothing(seed):
    """Smaller beats and rings than the widest keep the interval, and the latency within half a percent."""
    program = random_program(np.random.default_rng(seed), 2, max_channels=4, max_positions=16)
    plan = plan_program(program, 8)
    schedules = plan.schedules(program)
    model = simulate_cycles(program, plan, 6)
    assert (plan.cycles, plan.interval) == (simulate_cycles(program, plan, 1).latency, model.interval)
    channels = [node.ci for node in program.nodes] + [program.nodes[-1].co]
    wide = tuple(JointPlan(n=n, depth=s.least_depth + 2 if s else 0)
                 for n, s in zip(channels, [*schedules, None], strict=True))  # fmt: skip
    free = run_recurrence(schedules, wide, 6)
    assert model.interval <= free.interval and model.latency <= 1.005 * free.latency
    assert plan.lanes <= 8 and plan.resources["lanes"] == plan.lanes


def test_shipped_generator():
    program = deconvolutions(*SHIPPED)
    plan = plan_program(program, DEFAULT_LANES)
    assert DEFAULT_LANES == 133 == plan.lanes
    assert plan.interval == 7840
    assert program.macs / (plan.lanes * plan.interval) >= 0.94


def test_dcgan64_on_128_lanes():
    program = deconvolutions(*DCGAN64)
    plan = plan_program(program, 128)
    assert plan.lanes <= 128
    assert plan.interval <= 738_048
    assert program.macs / (128 * plan.interval) >= 0.95


@pytest.mark.parametrize("lanes, most", [(64, 29_200), (256, 7_400)])
def test_one_layer(lanes, most):
    program = deconvolutions(*ONE)
    plan = plan_program(program, lanes)
    model = simulate_cycles(program, plan, 1)
    assert plan.lanes <= lanes and plan.cycles == model.cycles <= most


def test_wrong_budgets():
    program = deconvolutions(*SHIPPED)
    for budget in (3, 0, -1):
        message = f"Lane budget must be at least 4, one for each layer, not {budget}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            plan_program(program, budget)
    for budget in (True, 128.0, "128"):
        with pytest.raises(TypeError, match=f"^{re.escape(f'Lane budget must be an integer, not {budget!r}')}$"):
            plan_program(program, budget)


@pytest.fixture(scope="module")
def planned():
    program = deconvolutions((4, 3, 2, 4, 2, 1), (3, 2, 4, 3, 1, 1))
    return program, plan_program(program, 8)


class TestPlanFile:
    """A Plan file with wrong things in it is refused with the file and what is wrong."""

    def changed(self, planned, tmp_path, change):
        dump_plan(planned[1], tmp_path / "plan.json")
        data = json.loads((tmp_path / "plan.json").read_text())
        change(data)
        (tmp_path / "plan.json").write_text(json.dumps(data))
        return load_plan(tmp_path / "plan.json")

    def test_round_trip(self, planned, tmp_path):
        assert self.changed(planned, tmp_path, lambda data: None) == planned[1]

    @pytest.mark.parametrize("change, message", [
        (lambda d: d["joints"][1].update(depth=1), r"layer1: ring depth must be at least \d, not 1"),
        (lambda d: d["joints"][0].update(n=5), r"layer0: joint n must be between 1 and 4, not 5"),
        (lambda d: d["joints"][-1].update(n=9), r"layer1: n after it must be between E = \d and 2, not 9"),
        (lambda d: d["engines"][0].update(Ti=5), r"layer0: ti must be between 1 and 4, not 5"),
        (lambda d: d["engines"][0].update(C=77), r"layer0: C must be To·P = \d+, not 77"),
        (lambda d: d["engines"][0].update(E=0), r"layer0: e must be between 1 and \d+, not 0"),
        (lambda d: d["engines"][1]["layers"][0].update(node="other"), r"Plan engine must run the layer 'layer1', not \['other'\]"),
        (lambda d: d["engines"][1]["layers"][0].update(order="column"), r"layer1: order must be 'row' or 'weight', not 'column'"),
        (lambda d: d["engines"][1]["layers"][0].update(B=2), r"layer1: B must be 1, not 2"),
        (lambda d: d["engines"].pop(), r"Plan must have engines for 2 layers, not 1"),
        (lambda d: d["joints"].pop(), r"Plan must have 3 joints, not 2"),
        (lambda d: d["joints"][1].update(coding="zip"), r"Plan joint 1: coding must be 'plain' or 'rle', not 'zip'"),
        (lambda d: d["joints"][0].update(coding="rle"),
         r"Plan joint 0: coding must be 'plain' outside the engines, not 'rle'"),
        (lambda d: d["joints"][2].update(coding="rle"),
         r"Plan joint 2: coding must be 'plain' outside the engines, not 'rle'"),
        (lambda d: d.update(program="ab" * 32), r"Plan belongs to Program abababababab…, not to [0-9a-f]{12}…"),
    ])  # fmt: skip
    def test_values_that_do_not_fit(self, planned, tmp_path, change, message):
        plan = self.changed(planned, tmp_path, change)
        with pytest.raises(ValueError, match=f"^{message}$"):
            plan.schedules(planned[0])

    @pytest.mark.parametrize("change, message", [
        (lambda d: d.update(version=99), r"Plan version must be 2; plan the Program again"),
        (lambda d: d.pop("version"), r"Plan version must be 2; plan the Program again"),
        (lambda d: d.pop("engines"), r"not a Plan of this version \('engines'\)"),
        (lambda d: d["engines"][0].pop("layers"), r"not a Plan of this version \('layers'\)"),
        (lambda d: d.update(extra=1), r"not a Plan of this version \(.*extra.*\)"),
        (lambda d: d["joints"][0].update(width=1), r"not a Plan of this version \(.*width.*\)"),
    ])  # fmt: skip
    def test_files_that_are_none(self, planned, tmp_path, change, message):
        with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path / 'plan.json'))}: {message}$"):
            self.changed(planned, tmp_path, change)

    def test_schedules_have_no_other_fields(self, planned):
        assert {f.name for f in dataclasses.fields(JointPlan)} == {"n", "depth", "coding"}
