"""Designs that were recorded: the cycle model says the same today, and claims hold."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

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
