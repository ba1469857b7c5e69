"""Engines that run several layers: every bit and every cycle, alone and between others, with stalls, in Verilog."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from organza.board import load_board
from organza.codes import Binary, Linear
from organza.driver import Driver, serial_port
from organza.errors import UserError
from organza.latent_stream import draw
from organza.loadable import loadable
from organza.plan import dump_plan, load_plan
from organza.program_file import program_hash
from organza.schedule import Schedule
from organza.time_sharing import IMAGE_GAP, PIPELINES, TimeSharing, check_shareable
from organza_hw.orders.weight import repeats_of
from organza_hw.shared.operands import by_bank
from organza_sim.api import build
from organza_sim.cycles import simulate_cycles
from organza_sim.designs import ternary_shape
from organza_sim.planner import plan_program
from organza_sim.pysim import simulate_pipeline
from organza_sim.serial_board import serial_board
from organza_sim.sharing import UNIT_SLACK, Share, parse_shares, share
from organza_sim.verify import verify
from tests.organza_sim.layer_cases import Case
from tests.repeated import some_now
from tests.shared_engines import shared_case
from tests.tiny import tiny_inputs, tiny_program

pytestmark = pytest.mark.rtl
SEEDS = range(48)
STALLED = range(48, 60)
MIXED = range(12)
WEIGHT_FEW = 8  # of seeds in each way of weight order, of chains alone, and half as many of others
ORDERS: dict[str, dict[str, Any]] = {"row": {}, "weight": {"order": "weight"}, "beside the chip": {"order": "weight", "memory": "external"}}
WAYS = (
    "--share must be all, none, or like 8x16 (Ti times C lanes), layer0..layer2=8x16, 8x16/4x2 (at most 4 output channels and 2 pixels at once) "
    "or 8x16/short"
)
FEW = 24  # of SEEDS, that are enough for every day


def _run(case: Case, **stalls: np.ndarray) -> tuple[list[int], list[int]]:
    """Cycles of the last beat of every image, in gateware and in the model; outputs are compared here."""
    outputs, run = simulate_pipeline(case.program, case.plan, case.x, **stalls)
    assert np.array_equal(outputs, case.program.run(case.x))
    timing = simulate_cycles(case.program, case.plan, len(case.x), **stalls)
    channels, height, width = case.program.output_shape
    beats = height * width * -(-channels // case.plan.joints[-1].n)
    assert run.in_cycles[0] == timing.first
    return run.out_cycles[beats - 1 :: beats].tolist(), timing.sent


def _cases(seeds: Iterable[int], row: int, weight: int) -> list[Any]:
    """Seeds and orders, of which every day has so many of each order."""
    return [
        pytest.param(seed, order, marks=() if place < (row if order == "row" else weight) else pytest.mark.full)
        for order in ORDERS for place, seed in enumerate(seeds)
    ]  # fmt: skip


@pytest.mark.parametrize(("seed", "order"), _cases(SEEDS, FEW, WEIGHT_FEW))
def test_alone(seed, order):
    measured, model = _run(shared_case(seed, **ORDERS[order]))
    assert measured == model


@pytest.mark.parametrize(("seed", "order"), _cases(MIXED, len(MIXED), WEIGHT_FEW // 2))
def test_between_engines_of_one_layer(seed, order):
    measured, model = _run(shared_case(seed, alone=False, **ORDERS[order]))
    assert measured == model


@pytest.mark.parametrize(("seed", "order"), _cases(STALLED, len(STALLED), WEIGHT_FEW // 2))
def test_stalls_of_source_and_sink(seed, order):
    rng = np.random.default_rng(seed)
    traces = {name: rng.random(97) < rng.choice([0.2, 0.7]) for name in ("stall_in", "stall_out")}
    measured, model = _run(shared_case(seed, **ORDERS[order]), **traces)
    assert measured == model


@pytest.mark.parametrize("seed", some_now(STALLED, WEIGHT_FEW // 2))
def test_words_that_come_late(seed):
    """From beside the chip, with pauses: they delay images, and change none."""
    case, rng = shared_case(seed, **ORDERS["beside the chip"]), np.random.default_rng(seed)
    late = rng.random(41) < rng.choice([0.3, 0.8])
    outputs, run = simulate_pipeline(case.program, case.plan, case.x, late_words=late)
    assert np.array_equal(outputs, case.program.run(case.x))
    assert run.out_cycles[-1] >= simulate_cycles(case.program, case.plan, len(case.x)).sent[-1]


@pytest.mark.parametrize("order", ["weight", "beside the chip"])
def test_what_random_chains_in_weight_order_cover(order):
    cases = [shared_case(seed, **ORDERS[order]) for seed in (*SEEDS, *STALLED)]
    engines = [case.plan.works(case.program)[0] for case in cases]
    layers = [layer for engine in engines for layer in engine.layers]
    assert {len(engine.layers) for engine in engines} == {2, 3, 4} and {engine.pipeline for engine in engines} == {*PIPELINES}
    assert any(layer.to % layer.e for layer in layers) and any(layer.node.ci % layer.ti for layer in layers)
    assert any(len({(layer.to, layer.p) for layer in engine.layers}) > 1 for engine in engines)
    assert any(layer.visit.waits for layer in layers) and any(1 in repeats_of(layer) for layer in layers)
    assert any(engine.rows > engine.layers[-1].units for engine in engines)
    # The first tile of an image waits for the last layer of the one before; and a layer has no tap at all.
    assert any(engine.chained > sum(engine.unit_costs[0]) + IMAGE_GAP for engine in engines)
    assert any(not any(layer.visit.passes) for layer in layers)
    assert any(by_bank(engine) and engine.p > 1 for engine in engines) and any(engine.short and not by_bank(engine) for engine in engines)


def test_what_the_random_chains_cover():
    cases = [shared_case(seed) for seed in (*SEEDS, *STALLED)]
    engines = [case.plan.works(case.program)[0] for case in cases]
    layers = [layer for engine in engines for layer in engine.layers]
    assert {len(engine.layers) for engine in engines} == {2, 3, 4} and {engine.pipeline for engine in engines} == {*PIPELINES}
    assert any(layer.g > 1 and layer.g < layer.p for layer in layers) and any(engine.rows > 3 for engine in engines)
    assert any(layer.to % layer.e for layer in layers) and any(layer.node.ci % layer.ti for layer in layers)
    assert any(not taps for layer in layers for taps in layer.node.x.table)
    assert any(len({layer.node.input.signed for layer in engine.layers}) == 2 for engine in engines)
    assert any(len({(layer.to, layer.p) for layer in engine.layers}) > 1 for engine in engines)
    assert any(layer.node.x.down > 1 and layer.p > 1 for layer in layers) and any(layer.visit.waits for layer in layers)
    assert any(by_bank(engine) and engine.p > 1 for engine in engines) and any(engine.short and not by_bank(engine) for engine in engines)
    tables = [[layer.node.epilogue.table is not None for layer in engine.layers] for engine in engines]
    assert any(any(found) and not all(found) for found in tables)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_in_verilog(pipeline, order):
    """With memory images in files, in Verilator."""
    program = tiny_program()
    given = {f"{name}s" if name == "order" else "memories": dict.fromkeys(("net.0", "net.3"), value) for name, value in ORDERS[order].items()}
    plan = plan_program(program, 8, shares=(Share(0, 2, 2, 4, pipeline=pipeline),), **given)
    found = verify(build(program, plan=plan), tiny_inputs(3))
    assert found.bit_exact and found.cycle_exact
    assert [layer.values for layer in found.layers] == [0, 3 * 36]


@pytest.mark.parametrize("loads", [False, True])
def test_a_plan_as_a_file(tmp_path, loads):
    """Whether weights are loaded is the Program's, so a Plan is for one of both."""
    case = shared_case(3, loads=loads)
    dump_plan(case.plan, tmp_path / "plan.json")
    found = load_plan(tmp_path / "plan.json")
    assert found == case.plan and [work.loads for work in found.works(case.program)] == [loads]
    with pytest.raises(ValueError, match="^Plan belongs to Program "):
        found.works(shared_case(3, loads=not loads).program)


def _layers(ti: int = 2, **change) -> list[Schedule]:
    first, second = tiny_program().nodes
    return [
        Schedule(node=first, ti=ti, to=2, p=1, e=2), Schedule(**{"node": second, "ti": ti, "to": 1, "p": 2, "e": 1, **change}),
    ]  # fmt: skip


def test_planning_gives_the_fewest_cycles_of_all_tilings():
    nodes = tiny_program().nodes
    for ti, c in ((1, 1), (2, 3), (3, 6)):
        found = share(nodes, ti, c)
        least = [
            min(
                Schedule(node=node, ti=ti, to=to, p=p, e=to, g=p if node is nodes[-1] else 1).cycles
                for p in range(1, min(node.x.output, c) + 1) for to in range(1, min(node.co, c // p) + 1)
            )
            for node in nodes
        ]  # fmt: skip
        assert sum(schedule.issues for schedule in found.layers) <= sum(least)
        assert found.lanes <= ti * c


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (_layers()[0],)}, "Time-shared engine must run at least two layers, not 1"),
        ({"c": 1}, "net.0: To·P must be at most C = 1, not 2"),
        ({"c": 3}, "net.0: C must be the most To·P that a layer of the engine has, not 3"),
        ({"e": 3}, "net.0: E must be the most that a layer of the engine has, not 3"),
        ({"pipeline": "long"}, "net.0: pipeline must be deep or short, not 'long'"),
        ({"rows": 1}, "net.3: rows must be 2 to 6, not 1"),
        ({"rows": 7}, "net.3: rows must be 2 to 6, not 7"),
        ({"layers": (_layers()[0], replace(_layers()[1], ti=1))}, "net.3: Ti must be 2 like that of net.0, not 1"),
        (
            {"layers": (_layers()[0], replace(_layers()[1], order="weight"))},
            "net.3: engine must run in row order with the memory 'rom' like net.0, not in weight order with 'rom'",
        ),
        ({"layers": (_layers()[0], replace(_layers()[1], p=3, g=2)), "c": 3}, "net.3: G must divide P = 3, not be 2"),
    ],
)  # fmt: skip
def test_engines_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TimeSharing(**{"layers": tuple(_layers()), "c": 2, "e": 2, **change})


def test_layers_that_cannot_share():
    first, second = tiny_program().nodes
    binary = replace(second, code=Binary(np.where(second.code.integers() < 0, -1, 1)))
    with pytest.raises(ValueError, match=r"^net\.3: cannot share an engine with other layers: lanes for binary weights are made for one layer"):
        check_shareable(binary)
    few = replace(second, code=Linear(second.code.integers() // 32, bits=4))
    with pytest.raises(ValueError, match="^net.3: engine must have 'plain' lanes for linear weights of 8 bits like net.0, not 'plain' lanes"):
        TimeSharing(layers=(_layers()[0], Schedule(node=few, ti=2, to=1, p=2, e=1)), c=2, e=2)


def test_layers_of_which_some_are_loaded():
    """All or none, whoever plans; the layer is named."""
    for name, kind, other in (("net.0", "loaded at run time", "net.3"), ("net.3", "in the bitstream", "net.3")):
        program = loadable(tiny_program(), [name])
        message = f"{other}: weights must be {kind} like those of net.0, with which it shares an engine"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            share(program.nodes, 2, 2)
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            plan_program(program, 8, shares=(Share(0, 2, 2, 2),))
        with pytest.raises(UserError, match=f"^--share all: {re.escape(message)}$"):
            parse_shares("all", program, 8)
        plan = plan_program(loadable(tiny_program()), 8, shares=(Share(0, 2, 2, 2),))
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            build(program, plan=replace(plan, program=program_hash(program)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8", f"{WAYS}, not '8'"),
        ("0x3", f"{WAYS}, not '0x3'"),
        ("2x3/long", f"{WAYS}, not '2x3/long'"),
        ("2x3/1x1/1x1", f"{WAYS}, not '2x3/1x1/1x1'"),
        ("short", f"{WAYS}, not 'short'"),
        ("net.0..net.9=2x2", "--share names the layer 'net.9'; this model has layer0 (net.0), layer1 (net.3)"),
        ("net.3..net.0=2x2", "--share net.3..net.0=2x2: shared engine must run at least two of the layers 0 to 1, not 1 to 0"),
        ("2x2,layer0..layer1=2x2", "--share 2x2,layer0..layer1=2x2: layer 0 must be in one shared engine, not in two"),
    ],
)  # fmt: skip
def test_wrong_requests(text, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        parse_shares(text, tiny_program(), 8)


@pytest.mark.parametrize(("text", "most", "pipeline"), [("3x6/2x2", (2, 2), "deep"), ("3x6/short", None, "short"), ("3x6 / 2x1 / short", (2, 1), "short")])
def test_requests(text, most, pipeline):
    program = tiny_program()
    (chosen,) = parse_shares(text, program, 18)
    assert (chosen.ti, chosen.c, chosen.most, chosen.pipeline) == (3, 6, most, pipeline)
    (engine,) = plan_program(program, 18, shares=(chosen,)).works(program)
    assert engine.pipeline == pipeline
    assert most is None or (engine.to <= most[0] and engine.p <= most[1] < share(program.nodes, 3, 6).p)


def test_a_short_pipeline_has_few_epilogue_units():
    deep, short = (share(ternary_shape().nodes, 16, 4, most=(2, 2), pipeline=pipeline) for pipeline in PIPELINES)
    assert (deep.e, short.e) == (2, 1) and deep.cycles < short.cycles <= deep.cycles * (1 + UNIT_SLACK)
    assert [(layer.to, layer.p) for layer in short.layers] == [(2, 1), (2, 2), (2, 2), (1, 2)]


def test_lanes_that_layers_use_alike():
    first, second = _layers()
    narrow = TimeSharing(layers=(first, second), c=2, e=2)
    assert narrow.lane_uses == [{0: (0, 0), 1: (0, 0)}, {0: (0, 1), 1: (1, 0)}]
    wide = TimeSharing(layers=(replace(first, p=2), second), c=4, e=2)
    assert wide.lane_uses == [{0: (0, 0), 1: (0, 0)}, {0: (0, 1)}, {0: (1, 0), 1: (1, 0)}, {0: (1, 1)}]


def test_the_fastest_way_to_share():
    program = tiny_program()
    for lanes in (1, 5, 8, 13):
        (chosen,) = parse_shares("all", program, lanes)
        assert (chosen.first, chosen.count) == (0, 2) and chosen.ti * chosen.c <= lanes
        found = share(program.nodes, chosen.ti, chosen.c)
        assert all(found.cycles <= share(program.nodes, ti, lanes // ti).cycles for ti in range(1, min(lanes, 3) + 1))
    with pytest.raises(UserError, match="^--share all: Lanes to share must be at least 1, not 0$"):
        parse_shares("all", program, 0)


def test_a_plan_must_fit():
    program = tiny_program()
    plan = plan_program(program, 8, shares=(Share(0, 2, 2, 2),))
    before, after = plan.joints
    with pytest.raises(ValueError, match="^net.0: depth before a time-shared engine must be an image of 1 rows, not 2$"):
        replace(plan, joints=(replace(before, depth=2), after)).works(program)
    alone = plan_program(program, 8)
    odd = replace(alone.engines[0], layers=(replace(alone.engines[0].layers[0], G=2),))
    with pytest.raises(ValueError, match="^net.0: G must be 1 in an engine of one layer, not 2$"):
        replace(alone, engines=(odd, alone.engines[1])).works(program)
    with pytest.raises(ValueError, match="^net.0: pipeline must be 'deep' in an engine of one layer, not 'short'$"):
        replace(alone, engines=(replace(alone.engines[0], pipeline="short"), alone.engines[1])).works(program)
    with pytest.raises(ValueError, match="^net.0: rows must be 2 in an engine of one layer, not 3$"):
        replace(alone, engines=(replace(alone.engines[0], rows=3), alone.engines[1])).works(program)


def test_more_lanes_than_the_budget():
    with pytest.raises(ValueError, match="^Lane budget must be at least the 6 lanes that are shared, not 5$"):
        plan_program(tiny_program(), 5, shares=(Share(0, 2, 2, 4),))


def test_a_whole_board():
    """Requests and replies bit by bit at the pins of the top module around a shared engine, in Verilator."""
    program = tiny_program()
    plan = plan_program(program, 6, shares=(Share(0, 2, 2, 2),))
    with serial_board(build(program, plan=plan), load_board("ulx3s-85f")) as port, Driver(serial_port(port, 115_200)) as driver:
        driver.expect(program, program_hash(program))
        got = np.stack([*driver.latents(program, 3, seed=9)])
    assert np.array_equal(got, program.run(draw(program.input, program.input_shape, 3, seed=9)))
