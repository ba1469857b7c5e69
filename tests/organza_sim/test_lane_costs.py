"""Recorded costs of the lanes against their targets, and one of them measured again."""

import json
from pathlib import Path

import pytest

from organza_sim.lane_costs import COMMAND, ROWS, luts_of, measure

RESULTS = json.loads((Path(__file__).parents[2] / "docs/results/lanes.json").read_text())


def test_every_lane_is_recorded():
    assert RESULTS["command"] == COMMAND
    assert set(RESULTS["rows"]) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_targets_are_met(name):
    recorded, row = RESULTS["rows"][name], ROWS[name]
    assert (recorded["luts_target"], recorded["multipliers_target"]) == (row.luts, row.multipliers)
    assert recorded["luts"] == round(luts_of(recorded["cells"]) / row.per, 2)
    assert recorded["multipliers"] == round(recorded["cells"].get("MULT18X18D", 0) / row.per, 3)
    assert row.luts is None or recorded["luts"] <= row.luts
    assert recorded["multipliers"] <= row.multipliers


@pytest.mark.parametrize("name", ["blocked hash", "codebook decode"])
def test_measured_again(name):
    assert measure(ROWS[name]) == RESULTS["rows"][name]
