# amaranth: UnusedElaboratable=no
"""Sparse layers in the RTL: every bit of the reference, every cycle of the model, and what pruning
saves."""

import itertools
import math
import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from organza.codes import Linear, Sparse
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.plan import JointPlan
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza_hw.build import build
from organza_hw.codes import term_of
from organza_hw.engine import output_latency
from organza_hw.multiply import LATENCY
from organza_hw.rom import Rom
from organza_hw.sequencer import ADDRESS_LATENCY, RELEASE_LATENCY, address_latency, lookup_latency, release_latency
from organza_sim.api import simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.pysim import simulate_pipeline
from organza_sim.rtl import random_stalls
from organza_sim.tilings import tilings
from tests.organza_sim.layer_cases import Case
from tests.plans import plan_of, random_plan
from tests.repeated import some_now
from tests.strategies import random_code, random_convolve, random_input

pytestmark = pytest.mark.rtl
LAYERS, PIPELINES = 36, 8
# Kernel, stride, crops: unequal phases, equal phases, output padding.
TRANSPOSED = ((3, 2, 1, 0), (5, 2, 2, 1), (4, 2, 1, 1), (3, 3, 0, 0))
STALLS = (0.1, 0.5, 0.9)


def transposed(rng, number):
    """A square transposed layer of a usual shape with any sparse weights."""
    k, stride, before, after = TRANSPOSED[number % len(TRANSPOSED)]
    while True:
        node = random_convolve(
            rng, code="sparse", max_channels=(6, 20)[number % 2], groups=number % 3 == 0
        )
        axis = Axis(
            size=int(rng.integers(2, 5)), kernel=k, up=stride, crop_before=before, crop_after=after
        )
        code = random_code(rng, (*node.code.shape[:2], k, k), "sparse")
        node = Convolve(name=node.name, y=axis, x=axis, groups=node.groups, code=code, epilogue=node.epilogue,
                        input=node.input, output=node.output)  # fmt: skip
        if node.macs <= 20_000:
            return node


@cache
def layer(number):
    """Case `number`: every other one a transposed layer of `TRANSPOSED`, the others anything."""
    rng = np.random.default_rng([77, number])
    while True:
        if number % 2:
            node = random_convolve(
                rng, code="sparse", max_channels=(5, 9, 20)[number % 3], max_macs=6000
            )
        else:
            node = transposed(rng, number // 2)
        program = Program((node,))
        plan = random_plan(rng, program)
        if plan.schedules(program)[0].cycles <= 1200:
            return Case(program, plan, random_input(rng, program, 2))


@cache
def pipeline(number):
    """Two or three layers, sparse and dense in turn."""
    rng = np.random.default_rng([78, number])
    while True:
        nodes: list[Convolve] = []
        for index in range(2 + number % 2):
            chain = (
                {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
            )
            kind = (
                "sparse"
                if (index + number) % 2
                else str(rng.choice(["linear", "ternary", "affine", "binary"]))
            )
            nodes.append(
                random_convolve(rng, name=f"layer{index}", code=kind, max_positions=30, **chain)
            )
        program = Program(tuple(nodes))
        plan = random_plan(rng, program)
        if sum(schedule.cycles for schedule in plan.schedules(program)) <= 1200:
            return Case(program, plan, random_input(rng, program, 2))


def check(case, seed):
    """Free and under random stalls: every bit, and every image's last cycle."""
    stalls: dict[str, Any] = {
        "stall_in": random_stalls(STALLS[seed % 3], seed),
        "stall_out": random_stalls(STALLS[seed // 3 % 3], seed + 1),
    }
    for traces in ({}, stalls):
        outputs, run = simulate_pipeline(case.program, case.plan, case.x, **traces)
        assert np.array_equal(outputs, case.program.run(case.x))
        model = simulate_cycles(case.program, case.plan, len(case.x), **traces)
        assert (model.first, model.sent) == (run.in_cycles[0], run.image_ends.tolist())


@pytest.mark.parametrize("number", some_now(range(LAYERS), 12))
def test_layers(number):
    check(layer(number), number)


@pytest.mark.parametrize("number", some_now(range(PIPELINES), 4))
def test_pipelines_of_sparse_and_dense_layers(number):
    check(pipeline(number), number)


def test_the_layers_cover_sparsity():
    schedules = [layer(number).schedules[0] for number in range(LAYERS)]
    found = set()
    for s in schedules:
        code, cig = s.node.code, s.node.ci // s.node.groups
        assert isinstance(code, Sparse)
        flags = {
            code.inner.kind: True, code.index: True,
            "uneven": (s.tap_issues != s.tap_issues.flat[0]).any(),
            "even": (s.tap_issues == s.tap_issues.flat[0]).all(),
            "empty tap": (code.effectual() == 0).any(),
            "several blocks": s.ci_tiles > 1,
            "part of a block": cig % code.block and cig > code.block,
            "block wider than the group": cig < code.block,
            "several words a block": s.tap_issues.max() > s.ci_tiles,
            "empty blocks": s.tap_issues.max() < s.ci_tiles,
            "groups": s.node.groups > 1, "pixel lanes": s.p > 1, "several ti": s.ti > 1,
            "idle by index": code.inner.zero_field is None, "epilogue stalls": s.cycles > s.issues,
            f"k{s.node.x.kernel}s{s.node.x.up}": True,
        }  # fmt: skip
        found |= {name for name, holds in flags.items() if holds}
    assert {"linear", "power", "ternary", "binary", "codebook", "bitmap", "relative", "uneven", "even", "empty tap",
            "several blocks", "part of a block", "block wider than the group", "several words a block", "empty blocks",
            "groups", "pixel lanes", "several ti", "idle by index", "epilogue stalls", "k3s2", "k5s2", "k4s2",
            "k3s3"} <= found  # fmt: skip


def test_issues_by_walking():
    """The closed form against a walk over rows, co tiles, blocks of pixels and taps, counting
    non-zeros."""
    for number in range(LAYERS):
        s = layer(number).schedules[0]
        node, code = s.node, s.node.code
        assert isinstance(code, Sparse)
        cig, cog = node.ci // node.groups, node.co // node.groups
        kept = code.integers() != 0
        span = min(code.block, cig)
        issues = 0
        for taps, block in itertools.product(node.y.table, s.blocks):
            for g, o in itertools.product(range(node.groups), range(0, cog, s.to)):
                tile = 0
                for (ky, _), tap in itertools.product(taps, block.taps):
                    unit = kept[g * cig : (g + 1) * cig, o : o + s.to, ky, tap.k]
                    need = sum(
                        math.ceil(unit[b : b + span].sum(0).max() / s.ti)
                        for b in range(0, cig, span)
                    )
                    tile += max(need, 1)
                issues += max(tile, 1)
        assert s.issues == issues


def test_latency_is_a_constant_of_the_code():
    sparse = layer(0).schedules[0]
    node = sparse.node
    dense = Convolve(name="dense", y=node.y, x=node.x, groups=node.groups, code=Linear(node.code.integers(), 16),
                     epilogue=node.epilogue, input=node.input, output=node.output)  # fmt: skip
    dense = Schedule(node=dense, ti=sparse.ti, to=sparse.to, p=sparse.p, e=sparse.e)
    assert (address_latency(dense), release_latency(dense)) == (ADDRESS_LATENCY, RELEASE_LATENCY)
    lookup = lookup_latency(sparse)
    assert (address_latency(sparse), release_latency(sparse)) == (ADDRESS_LATENCY + lookup, RELEASE_LATENCY + lookup)
    assert lookup == Rom.LATENCY
    # The ring word of an issue is looked up, the gathered activations are registered, and products may take other cycles.
    assert output_latency(sparse) == output_latency(dense) + lookup + 1 + term_of(node.code).product_latency - LATENCY


def one_layer(ci, co, size, weights=None, *, k=4, stride=2, crop=1):
    """A transposed layer of 8 bits, dense and pruned to 75 % balanced: two Programs."""
    axis = Axis(size=size, kernel=k, up=stride, crop_before=crop, crop_after=crop)
    real = np.random.default_rng(0).normal(0, 1, (ci, co, k, k))
    rule = Epilogue(
        np.zeros(co, int), np.full(co, 16000), np.zeros(co, int), np.full(co, 24), 0, 255
    )
    for code in (
        Linear.encode(real, 1, np.ones(ci))[0],
        Sparse.encode(real, 1, np.ones(ci), sparsity=75)[0],
    ):
        yield Program((Convolve(name="layer", y=axis, x=axis, groups=1, code=code, epilogue=rule,
                                input=Fixed(8, True, 1.0), output=Fixed(8, False, 1.0)),))  # fmt: skip


def test_three_quarters_pruned_is_almost_four_times_faster():
    """64→32, 8×8→16×16, k4 s2 p1: the best 64 lanes that the planner finds for both, every lane
    busy in every cycle."""
    dense, sparse = one_layer(64, 32, 8)
    best = [next(option for option in reversed(tilings(program.nodes[0], 64)) if option.lanes <= 64).cycles
            for program in (dense, sparse)]  # fmt: skip
    assert best == [28_800, 7_200]
    plan = plan_program(sparse, 64)
    assert plan.lanes <= 64
    schedule = plan.schedules(sparse)[0]
    assert schedule.node.macs / (schedule.lanes * schedule.cycles) == 1


def test_exactly_four_times_faster_in_the_rtl():
    """The same lanes for both: a word of four non-zeros does the work of four words."""
    cycles = []
    for program in one_layer(32, 8, 3):
        schedule = Schedule(node=program.nodes[0], ti=4, to=8, p=1, e=4)
        plan = plan_of(program, [schedule], [JointPlan(n=8, depth=4), JointPlan(n=8, depth=0)])
        x = random_input(np.random.default_rng(1), program, 3)
        outputs, run = simulate_pipeline(program, plan, x)
        assert np.array_equal(outputs, program.run(x))
        assert run.image_ends.tolist() == simulate_cycles(program, plan, 3).sent
        assert schedule.node.macs == schedule.lanes * schedule.issues
        cycles.append(schedule.cycles)
    assert cycles[0] == 4 * cycles[1]


@pytest.mark.parametrize("number", range(6))
def test_planner(number):
    """No tiling of the search's lanes is better, and the Plan's cycles are the RTL's."""
    node = layer(number).program.nodes[0]
    cig, cog = node.ci // node.groups, node.co // node.groups
    front = tilings(node, 12)
    for option in front:
        schedule = Schedule(node=node, ti=option.ti, to=option.to, p=option.p, e=option.to)
        assert schedule.issues == option.cycles
    useful = {-(-cog // n) for n in range(1, cog + 1)}
    for ti, to, p in itertools.product(
        range(1, node.code.span(cig, cig) + 1), useful, range(1, node.x.output + 1)
    ):
        if ti * to * p <= 12:
            issues = Schedule(node=node, ti=ti, to=to, p=p, e=to).issues
            assert any(option.lanes <= ti * to * p and option.cycles <= issues for option in front)
    program = Program((node,))
    plan = plan_program(program, 12)
    x = random_input(np.random.default_rng(number), program, 2)
    outputs, run = simulate_pipeline(program, plan, x)
    assert np.array_equal(outputs, program.run(x))
    assert run.latency == plan.cycles


def test_memories_hold_the_words_and_their_blocks():
    case = next(c for c in map(layer, range(LAYERS)) if c.schedules[0].ci_tiles > 1)
    schedule = case.schedules[0]
    code, place = schedule.node.code, (schedule.ti, schedule.to, schedule.node.groups)
    assert isinstance(code, Sparse)
    chip = build(case.program, case.plan)
    words, blocks = code.words(*place), code.word_blocks(*place)
    assert [int(line, 16) for line in chip.files["layer0_blocks.hex"].split()] == blocks.tolist()
    made = [int(line, 16) for line in chip.files["layer0_weights.hex"].split()]
    bits = code.field_bits
    for word, fields in zip(made, words, strict=True):
        assert [
            word >> (n * bits) & ((1 << bits) - 1) for n in range(fields.size)
        ] == fields.ravel().tolist()


def test_generated_verilog():
    """The block numbers come out of their file."""
    case = next(c for c in map(layer, range(LAYERS)) if c.schedules[0].ci_tiles > 2)
    run = simulate(build(case.program, case.plan), case.x)
    assert np.array_equal(run.outputs, case.program.run(case.x))
    assert run.latency == simulate_cycles(case.program, case.plan, 1).latency


def test_more_lanes_than_a_block_has_channels():
    for node in (layer(number).program.nodes[0] for number in range(LAYERS)):
        assert isinstance(node.code, Sparse)
        most = min(node.code.block, node.ci // node.groups)
        message = f"layer: ti must be between 1 and {most}, not {most + 1}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Schedule(node=node, ti=most + 1, to=1)


def test_rings_of_the_least_depth():
    """A released row is never overwritten before its last read."""
    for number in range(0, LAYERS, 6):
        case = layer(number)
        schedule = case.schedules[0]
        joints = [JointPlan(n=schedule.node.ci, depth=schedule.least_depth), case.plan.joints[1]]
        check(Case(case.program, plan_of(case.program, [schedule], joints), case.x), number)
