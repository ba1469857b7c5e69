# amaranth: UnusedElaboratable=no
"""Codebooks that accumulate by index, in RTL: the same bits as decoded ones, and the cycles of the model."""

import dataclasses

import numpy as np
import pytest

from organza.codes import Codebook, Huffman
from organza.geometry import Axis
from organza.plan import JointPlan
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza_sim.planner import plan_program
from tests import code_matrix
from tests.organza_sim.layer_cases import MOST_CYCLES, Case, case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import plan_of, random_plan
from tests.strategies import random_convolve, random_epilogue, random_input

pytestmark = pytest.mark.rtl


def with_bins(rng, program, images=3):
    """A random Plan with bins, and input."""
    plan = random_plan(rng, program)
    engines = []
    for engine, node in zip(plan.engines, program.nodes, strict=True):
        assert node.code.arithmetics == ("plain", "bins")
        engines.append(dataclasses.replace(engine, Ti=1, arithmetic="bins"))
    return Case(program, dataclasses.replace(plan, engines=tuple(engines)), random_input(rng, program, images))


def with_zero(code):
    """The same indices; the smallest centroid is 0."""
    centroids = code.centroids.copy()
    centroids[np.abs(centroids).argmin()] = 0
    return Codebook(code.indices, centroids)


def layer(seed, **limits):
    """A random layer with a random codebook, few cycles."""
    rng = np.random.default_rng([17, seed])
    while True:
        node = random_convolve(rng, code="codebook", **limits)
        if seed % 3 == 0:
            node = dataclasses.replace(node, code=with_zero(node.code))
        chosen = with_bins(rng, Program((node,)))
        if sum(schedule.cycles for schedule in chosen.schedules) <= 2 * MOST_CYCLES:
            return chosen


@pytest.mark.parametrize("seed", range(12))
def test_layers(seed):
    chosen = layer(seed, max_channels=5 if seed % 2 else 4, max_size=4)
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("kernel", [3, 5])
def test_unbalanced_phases(kernel):
    """k3 s2 and k5 s2 transposed convolutions, 16 centroids, pixel lanes; no centroid is zero."""
    rng = np.random.default_rng(kernel)
    axis = Axis(size=3, kernel=kernel, up=2, crop_before=kernel // 2, crop_after=kernel // 2 - 1)
    centroids = np.array([-128, -100, -70, -31, -16, -9, -2, -1, 1, 3, 8, 15, 33, 64, 99, 127])
    code = Codebook(rng.integers(0, 16, (3, 3, kernel, kernel)), centroids)
    drawn = case(0).program.nodes[0]
    bound = np.abs(code.integers()).sum((0, 2, 3)) * drawn.input.magnitude
    node = Convolve(
        name="layer", y=axis, x=axis, groups=1, code=code,
        epilogue=random_epilogue(rng, bound, drawn.output, kind="leaky"),
        input=drawn.input, output=drawn.output,
    )  # fmt: skip
    program = Program((node,))
    schedule = Schedule(node=node, ti=1, to=2, p=2, e=1, arithmetic="bins")
    assert schedule.pause == 2 * 2 * 16
    assert schedule.visit.shortest_tile < schedule.pause
    joints = [JointPlan(n=2, depth=schedule.least_depth + 1), JointPlan(n=2, depth=0)]
    chosen = Case(program, plan_of(program, [schedule], joints), random_input(rng, program))
    check_free(chosen)
    check_stalled(chosen, kernel, images=1)


def test_an_entropy_coded_codebook():
    rng = np.random.default_rng(4)
    plain = layer(3, max_channels=4, max_size=4).program.nodes[0]
    program = Program((dataclasses.replace(plain, code=Huffman(plain.code)),))
    chosen = with_bins(rng, program)
    check_free(chosen)
    check_stalled(chosen, 1)


def test_groups_and_signed_inputs_come_up():
    nodes = [layer(seed, max_channels=5 if seed % 2 else 4, max_size=4).schedules[0] for seed in range(12)]
    assert {schedule.node.input.signed for schedule in nodes} == {False, True}
    assert any(schedule.node.groups > 1 for schedule in nodes)
    assert any(schedule.p > 1 and schedule.chunks > 1 for schedule in nodes)
    assert {schedule.node.code.zero_field is None for schedule in nodes} == {False, True}


def test_the_planner_plans_what_it_is_told():
    chosen = case(2, layers=2, code="codebook")
    name = chosen.program.nodes[1].name
    plan = plan_program(chosen.program, 12, arithmetic={name: "bins"})
    assert [engine.arithmetic for engine in plan.engines] == ["plain", "bins"]
    assert plan.engines[1].Ti == 1
    assert plan.lanes <= 12
    check_free(Case(chosen.program, plan, chosen.x))
    wide = next(node for node in (layer(seed).program.nodes[0] for seed in range(20)) if node.ci // node.groups > 1)
    with pytest.raises(ValueError, match="^layer: ti must be 1 for 'bins' lanes, not 2$"):
        Schedule(node=wide, ti=2, to=1, arithmetic="bins")


@pytest.mark.full
@pytest.mark.parametrize("codes", [
    "layer2=codebook:16",
    "layer0=huffman+codebook:16,layer1=tanh:3,layer2=rle+codebook:16,layer3=codebook:40",
])  # fmt: skip
def test_the_shipped_generator(codes):
    lanes = ",".join(f"{part.partition('=')[0]}=bins" for part in codes.split(","))
    assert code_matrix.check(codes, lanes)["wrong"] == []
