# amaranth: UnusedElaboratable=no
"""Exponents picked on the chip: every bit, every exponent, every register and every cycle, overflows and recovery among them."""

from dataclasses import replace

import numpy as np
import pytest

from organza.formats import Managed
from organza.lowering import lower
from organza.manage import manage, with_rules
from organza.plan import JointPlan
from organza.program import Program
from organza.quality import CHECKPOINT, calibration_latents
from organza.schedule import Schedule
from organza_hw.exponents import ExponentUnit
from organza_hw.joint_header import HeaderWriter
from organza_sim.api import build, simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.report import joint_traffic, layer_rows
from organza_sim.rtl import random_stalls
from organza_sim.status import expected_status, status_of
from organza_sim.verify import verify
from tests.formal.shell import mutated
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import plan_of, random_plan
from tests.repeated import some_now
from tests.strategies import random_convolve, random_input, random_managed

PIPELINES = 7
MOST_CYCLES = 800


def managed_case(seed: int, images: int = 6) -> Case:
    """Two or three layers; those that read managed tensors are flexpoint, or any code in even cases."""
    rng = np.random.default_rng([seed, 5])
    while True:
        program = random_managed(rng, 2 + seed % 2, code="flexpoint" if seed % 2 else None, max_macs=300, max_positions=20)
        plan = random_plan(rng, program)
        if sum(schedule.cycles for schedule in plan.schedules(program)) <= MOST_CYCLES:
            return Case(program, plan, random_input(rng, program, images))


@pytest.mark.parametrize("seed", some_now(range(PIPELINES), 3))
def test_pipelines(seed):
    chosen = managed_case(seed)
    check_free(chosen)
    check_stalled(chosen, seed, images=6)


@pytest.mark.parametrize("seed", [0, 1])
def test_weight_order(seed):
    """Every layer that can in weight order: an image is one output unit, and still two of them are on their way."""
    chosen = managed_case(seed)
    schedules = [replace(schedule, order="weight") if "weight" in schedule.node.code.orders(schedule.arithmetic) else schedule
                 for schedule in chosen.schedules]  # fmt: skip
    assert any(schedule.order == "weight" for schedule in schedules)
    joints = [replace(joint, depth=max(joint.depth, schedule.least_depth))
              for joint, schedule in zip(chosen.plan.joints, schedules, strict=False)]  # fmt: skip
    turned = Case(chosen.program, plan_of(chosen.program, schedules, [*joints, chosen.plan.joints[-1]]), chosen.x)
    check_free(turned)
    check_stalled(turned, seed, images=6)


def test_the_pipelines_cover_what_exponents_do():
    """Overflows, recoveries, exponents that rise and fall, every delay."""
    found = set()
    for seed in range(PIPELINES):
        chosen = managed_case(seed)
        trace = chosen.program.trace(chosen.x)
        for node, engine, exponents in zip(chosen.program.nodes, chosen.plan.engines, trace.exponents, strict=True):
            if exponents is None:
                continue
            moves = np.diff(exponents.exponent)
            flags = {
                "rises": (moves > 0).any(), "falls": (moves < 0).any(), "overflow": exponents.overflow.any(),
                "recovers": (exponents.overflow[:-1] & ~exponents.overflow[1:]).any(),
                f"delay {node.output.rule.delay}": True, "several units": engine.E > 1,
            }  # fmt: skip
            found |= {name for name, holds in flags.items() if holds}
    assert found == {"rises", "falls", "overflow", "recovers", "delay 1", "delay 2", "delay 3", "several units"}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("height", some_now([2, 1], 1))
def test_images_of_one_issue(depth, height):
    """The next image begins while two are on their way: nothing waits for an exponent, and every one is the rule's."""
    rng = np.random.default_rng(depth)
    shape = (1, height, 1)
    nodes = []
    for name in "abc":
        form = {"input": nodes[-1].output} if nodes else {}
        nodes.append(random_convolve(
            rng, name=name, geometry="point", input_shape=shape, groups=False, max_channels=1, code="flexpoint",
            output=random_managed(rng).nodes[1].input.at(-9), epilogue="leaky", **form,
        ))  # fmt: skip
    nodes = [replace(node, epilogue=replace(node.epilogue, low=-32768, high=32767)) for node in nodes]
    frozen = Program(tuple(nodes))
    program = with_rules(manage(frozen), lambda rule: replace(rule, initial=rule.low))
    x = rng.integers(program.input.low, program.input.high + 1, (24, *shape)) >> rng.integers(0, 12, (24, 1, 1, 1))
    plan = plan_of(program, [Schedule(node=node, ti=1, to=1) for node in program.nodes],
                   [JointPlan(n=1, depth=depth)] * 3 + [JointPlan(n=1, depth=0)])  # fmt: skip
    model = check_free(Case(program, plan, x))
    # No more than the cycle of a header between the same layers with frozen exponents, and what aligning the bias takes.
    without = plan_of(frozen, [Schedule(node=node, ti=1, to=1) for node in frozen.nodes], list(plan.joints))
    assert model.interval <= simulate_cycles(frozen, without, 24).interval + 4
    for seed in (5, 14):
        check_stalled(Case(program, plan, x), seed, images=12)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_wrong_rule_is_noticed(seed, monkeypatch):
    """An exponent unit that looks one image too far shows in headers, registers and values."""
    mutant = mutated(ExponentUnit, "Mux(behind == 0, chosen[rule.delay], chosen[rule.delay - 1])", "chosen[rule.delay - 1]")
    monkeypatch.setattr("organza_hw.image_exponents.ExponentUnit", mutant)
    with pytest.raises(AssertionError):
        for late in range(4):
            check_free(managed_case(seed + 2 * late))


def scaled(program, *parts):
    """Latents of several scales, one after the other: pairs of a count and a scale."""
    rng = np.random.default_rng(4)
    return program.quantize(np.concatenate([scale * rng.normal(size=(count, *program.input_shape)) for count, scale in parts]))


@pytest.fixture(scope="module")
def shipped():
    """The shipped generator with exponents that start far too small, on few lanes."""
    program = manage(lower(CHECKPOINT, calibration_latents(64), code="flexpoint"))
    return build(with_rules(program, lambda rule: replace(rule, initial=rule.low)), lanes=32)


@pytest.mark.rtl
@pytest.mark.full
def test_the_shipped_generator_recovers(shipped):
    """Latents that jump by 64: overflows, flags, and recovery, all as the reference has them, in the cycles of the model."""
    program = shipped.program
    x = scaled(program, (7, 1 / 64), (9, 1.0))
    checked = verify(shipped, x)
    assert checked.passed
    assert [verdict.images for verdict in checked.exponents] == [16] * 3
    trace = program.trace(x)
    over = [exponents.overflow for exponents in trace.exponents[:3]]
    # Two images (d + 1) overflow at the start and two after the jump; layers behind meet it when those before have recovered.
    assert over[0].tolist() == [True] * 2 + [False] * 5 + [True] * 2 + [False] * 7
    assert all(flags[-3:].sum() == 0 for flags in over)
    assert [verdict.overflows for verdict in checked.exponents] == [int(flags.sum()) for flags in over]
    assert checked.simulation is not None
    for k, exponents in enumerate(trace.exponents[:3], 1):
        assert np.array_equal(status_of(checked.simulation.joints[f"status{k}"]), expected_status(exponents))


@pytest.mark.rtl
def test_the_shipped_generator_under_stalls(shipped):
    """Random pauses on both sides: the same bits and exponents, in the cycles that the model makes of the traces."""
    program = shipped.program
    x = scaled(program, (3, 1 / 16), (3, 1.0))
    stalls = random_stalls(0.3, 1), random_stalls(0.3, 2)
    run = simulate(shipped, x, stalls=stalls, joints=True)
    trace = program.trace(x)
    assert np.array_equal(run.outputs, trace.layers[-1])
    for k, exponents in enumerate(trace.exponents[:3], 1):
        assert exponents is not None
        assert np.array_equal(status_of(run.joints[f"status{k}"]), expected_status(exponents))
    model = simulate_cycles(program, shipped.plan, len(x), stall_in=stalls[0], stall_out=stalls[1])
    assert [end - model.first for end in model.sent] == run.image_ends.tolist()


FULL = pytest.mark.full  # more of what another case has already shown
ENGINE, IMAGES = "organza_hw.engine", "organza_hw.image_exponents"


@pytest.mark.rtl
@pytest.mark.parametrize(
    ("where", "part", "old", "new", "image", "what"),
    [
        (ENGINE, HeaderWriter, "queue.r_data.as_signed()", "queue.r_data.as_signed() + 1", 0, "header"),
        pytest.param(IMAGES, ExponentUnit, "status.peak.eq(self.peak)", "status.peak.eq(~self.peak)", 0, "peak", marks=FULL),
        pytest.param(IMAGES, ExponentUnit, "status.overflow.eq(overflow)", "status.overflow.eq(~overflow)", 0, "overflow", marks=FULL),
    ],
)  # fmt: skip
def test_verification_says_what_is_wrong(where, part, old, new, image, what, monkeypatch):
    monkeypatch.setattr(f"{where}.{part.__name__}", mutated(part, old, new))
    chosen = managed_case(7)
    checked = verify(build(chosen.program, plan=chosen.plan), chosen.x)
    assert not checked.passed
    assert not checked.bit_exact
    first = next(verdict.first for verdict in checked.exponents if verdict.first is not None)
    assert (first.layer, first.image, first.what) == ("layer0", image, what)
    assert str(checked.first).startswith(f"layer layer0, image {image}, {what} of its exponents: expected ")
    report: dict = checked.to_dict()
    assert report["first_difference"]["what"] == what


def test_plans_and_reports():
    program, frozen = (lower(CHECKPOINT, calibration_latents(64), code=code) for code in ("flexpoint:managed", "flexpoint"))
    plan, frozen = plan_program(program, 133), plan_program(frozen, 133)
    assert plan.interval == frozen.interval
    # A header in each of three joints, and two cycles for the bias in each of three layers.
    assert plan.cycles - frozen.cycles <= 3 + 3 * 2
    rows: list[dict] = layer_rows(program, plan)
    assert rows[0]["output_format"]["kind"] == "managed"
    assert rows[0]["output_format"]["exponents"]["delay"] == 1
    layers = program.run_layers(scaled(program, (2, 1.0)))
    traffic: list[dict] = joint_traffic(program, plan, layers)
    for entry, node, joint in zip(traffic, program.nodes, plan.joints[1:], strict=False):
        assert isinstance(node.output, Managed)
        channels, height, width = node.output_shape
        assert entry["plain_bits"] == 16 * (-(-channels // joint.n) * joint.n * height * width + joint.n)
    with pytest.raises(ValueError, match="^net.3: coding before it must be 'plain' with managed exponents, not 'rle'$"):
        build(program, plan=replace(plan, joints=tuple(
            replace(joint, coding="rle" if k == 1 else "plain") for k, joint in enumerate(plan.joints)
        )))  # fmt: skip
