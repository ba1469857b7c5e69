"""Recorded clock rates against the target, and one small netlist made again so that the command keeps working."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from organza_sim import toolchain
from organza_sim.fmax import (
    COMMAND,
    PLACEMENT,
    ROWS,
    SEEDS,
    SYNTHESIS,
    TARGET_MHZ,
    TOP,
    program_of,
    summary,
    verilog_of,
)

CELLS = toolchain.CELLS["ecp5"]
KEYS = ("code", "arithmetic", "ti", "to", "p", "e", "order", "router")
RESULTS = json.loads((Path(__file__).parents[2] / "docs/results/fmax.json").read_text())


def test_the_commands_are_recorded():
    assert (RESULTS["command"], RESULTS["synthesis"], RESULTS["placement"]) == (COMMAND, SYNTHESIS, PLACEMENT)
    assert RESULTS["target_mhz"] == TARGET_MHZ == 125


@pytest.mark.parametrize("name", RESULTS["rows"])
def test_rows(name):
    """What was built is the row of today."""
    recorded, row = RESULTS["rows"][name], ROWS[name]
    assert {key: recorded[key] for key in KEYS} == {key: getattr(row, key) for key in KEYS}
    assert row.ti * row.to * row.p == 64
    path = recorded["slowest"]
    assert recorded["mhz"] == pytest.approx(1000 / (path["logic_ns"] + path["routing_ns"]), abs=1)
    assert set(recorded["cells"]) == set(CELLS) and 1 <= recorded["seed"] <= SEEDS
    assert path["from"] and path["to"]


def test_all_rows_reach_the_target():
    assert set(RESULTS["rows"]) == set(ROWS)
    assert {name: row["mhz"] for name, row in RESULTS["rows"].items() if row["mhz"] < TARGET_MHZ} == {}


@pytest.mark.synth
def test_a_small_netlist(tmp_path):
    """One lane, up to the netlist: its multipliers are cells with registers, two of them the requantiser's, and pins are few."""
    row = replace(ROWS["int8"], ti=1, to=1, e=1)
    toolchain.synthesize(tmp_path, "ecp5", TOP, verilog_of(row, program_of(row, size=1, channels=(2, 2))))
    netlist = json.loads((tmp_path / "alone.json").read_text())["modules"]["alone"]
    kinds = [cell["type"] for cell in netlist["cells"].values()]
    assert "TRELLIS_FF" in kinds and len(netlist["ports"]) == 8
    multipliers = [cell for cell in netlist["cells"].values() if cell["type"] == "MULT18X18D"]
    assert {cell["parameters"]["REG_OUTPUT_CLK"] for cell in multipliers} == {"CLK0"}
    assert not {kind for kind in kinds if kind.startswith("$")} - {"$scopeinfo"}


def test_summary():
    """Of a report in the form that nextpnr writes: of all paths the one from clock to clock, its delays added up by kind."""
    end = {"cell": "layer_TRELLIS_FF_Q_3", "port": "Q"}
    steps = [{"type": kind, "delay": delay, "from": end, "to": {"cell": "other_TRELLIS_FF_Q", "port": "DI"}}
             for kind, delay in (("clk-to-q", 0.5), ("routing", 1.0), ("logic", 2.0), ("setup", 0.5))]  # fmt: skip
    report = {
        "fmax": {"clk": {"achieved": 250.04, "constraint": 125}},
        "critical_paths": [
            {"from": "<async>", "to": "posedge clk", "path": steps[:1]}, {"from": "posedge clk", "to": "posedge clk", "path": steps},
        ],
        "utilization": {cell: {"used": number, "available": 9} for number, cell in enumerate(CELLS.values())},
    }  # fmt: skip
    assert summary(report) == {
        "mhz": 250.0,
        "slowest": {"from": "layer TRELLIS_FF Q", "to": "other TRELLIS_FF DI", "logic_ns": 3.0, "routing_ns": 1.0},
        "cells": dict(zip(CELLS, range(len(CELLS)), strict=True)),
    }


def test_the_table_in_the_documentation_is_the_record():
    text = (Path(__file__).parents[2] / "docs/hardware.md").read_text()
    for name, row in RESULTS["rows"].items():
        cells = row["cells"]
        line = (
            name,
            f"{row['mhz']:.1f}",
            f"{cells['luts']:,}",
            f"{cells['registers']:,}",
            *(str(cells[k]) for k in ("multipliers", "block_rams")),
        )
        assert f"| {' | '.join(line)} |" in text, name
