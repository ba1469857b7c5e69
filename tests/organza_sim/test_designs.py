"""Designs that were recorded: the cycle model says the same today, and claims hold."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from organza.board import load_board
from organza_sim.cycles import simulate_cycles
from organza_sim.designs import COMMAND, DESIGNS, OUTPUT

RECORDED = json.loads((Path(__file__).parents[2] / OUTPUT).read_text())


@cache
def _planned(name: str):
    program = DESIGNS[name].program()
    return program, DESIGNS[name].plan(program)


def test_all_are_there():
    assert RECORDED["command"] == COMMAND
    assert list(RECORDED["designs"]) == list(DESIGNS)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design(name):
    row = RECORDED["designs"][name]
    assert row["bit_exact"] is True and set(row["cycles_model_minus_rtl"]) == {0}
    program, plan = _planned(name)
    assert row["lanes"] == plan.lanes <= row["budget"] == DESIGNS[name].lanes
    assert row["tilings"] == [[engine.Ti, layer.To, layer.P] for engine in plan.engines for layer in engine.layers]
    assert row["macs_effectual"] == program.macs
    timing = simulate_cycles(program, plan, row["images"])
    assert row["image_ends_rtl"] == [sent - timing.first for sent in timing.sent]
    assert row["utilization_of_budget"] == pytest.approx(program.macs / row["interval"] / row["budget"])


def test_the_table_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs/hardware.md").read_text(encoding="utf-8")
    for name, row in RECORDED["designs"].items():
        assert f"| {name} | {row['budget']:,} | {row['interval']:,} | {row['utilization_of_budget']:.1%} |\n" in text


@pytest.mark.parametrize(
    ("name", "most"),
    [("dcgan64 shares 8×16", 711_000), ("shipped shape shares 8×16", 7_900), ("ternary shipped shape shares 5×8", 26_600),
     ("ternary dcgan64 of 32 filters on 1050 lanes", 23_400)],
)  # fmt: skip
def test_intervals(name, most):
    assert RECORDED["designs"][name]["interval"] <= most


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *((f"dcgan64 on {lanes} lanes", 0.95) for lanes in (86, 128, 156, 1024)),
        ("dcgan64 shares 12×13", 0.95), ("dcgan64 shares 26×6", 0.95), ("dcgan64 shares 26×12 packed", 0.90),
    ],
)  # fmt: skip
def test_utilization(name, least):
    assert RECORDED["designs"][name]["utilization_of_budget"] >= least


def test_with_three_layers_outside_the_weights_are_in_an_ecp5():
    """A block RAM has 18 kbit; the table in docs/external.md is the planner's."""
    program, plan = _planned("dcgan64 on 156 lanes, three layers outside")
    assert plan.interval == _planned("dcgan64 on 156 lanes")[1].interval
    assert sum(plan.resources[name] for name in ("weight_bits", "ring_bits", "output_row_bits", "sum_bits")) < load_board("ulx3s-85f").device.block_rams * 18 * 1024
    text, tried = (Path(__file__).parents[2] / "docs/external.md").read_text(encoding="utf-8"), DESIGNS["dcgan64 on 156 lanes"]
    for outside, name in enumerate(("none", "1", "2", "3")):
        plan = replace(tried, outside=outside).plan(program)
        count = sum(schedule.image_bits for schedule in plan.schedules(program) if schedule.external) // 8
        cycles = simulate_cycles(program, plan, 1)
        row = f"| {name} | {plan.resources['weight_bits'] / 1e6:.2f} | {count:,} | {count * 100 / plan.interval:.0f} | {cycles.sent[0] - cycles.first:,} |\n"
        assert row in text, row
