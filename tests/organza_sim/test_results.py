"""The recorded hardware figures: what can be recomputed fast is, and every limit holds."""

import json
from pathlib import Path

import pytest

from organza_sim.cycles import simulate_cycles
from organza_sim.measure import DCGAN32, DCGAN64, dcgan
from organza_sim.planner import DEFAULT_LANES, plan_program

SPARSE = ["layer_64_lanes_sparse_balanced", "layer_64_lanes_sparse_unbalanced"]
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


@pytest.fixture(scope="module")
def recorded():
    return json.loads((RESULTS / "hardware.json").read_text())


@pytest.mark.parametrize(("name", "widths", "lanes"), [("dcgan32", DCGAN32, DEFAULT_LANES), ("dcgan64", DCGAN64, 128)])
def test_recorded_cycles_are_the_models(recorded, name, widths, lanes):
    program = dcgan(widths)
    plan = plan_program(program, lanes)
    found = recorded[name]
    timing = simulate_cycles(program, plan, 4)
    assert found["image_ends_rtl"][:4] == [end - timing.first for end in timing.sent]
    assert found["lanes"] == plan.lanes
    assert found["macs_effectual"] == program.macs


@pytest.mark.parametrize("name", ["dcgan32", "dcgan64", "layer_64_lanes", "layer_256_lanes", *SPARSE])
def test_rtl_was_exact(recorded, name):
    assert recorded[name]["bit_exact"] is True
    assert set(recorded[name]["cycles_model_minus_rtl"]) == {0}


def test_limits(recorded):
    assert recorded["dcgan32"]["interval"] == 7840
    assert recorded["dcgan32"]["utilization"] >= 0.94
    assert recorded["dcgan64"]["utilization_of_budget"] >= 0.95
    assert recorded["layer_64_lanes"]["cycles_first_image"] <= 29_200
    dense, balanced, unbalanced = (recorded[name] for name in ("layer_64_lanes", *SPARSE))
    assert balanced["interval"] * 3.6 <= dense["interval"] and balanced["utilization"] >= 0.9
    # Lanes wait for the fullest one where every lane has its own number of weights, and still gain.
    assert balanced["interval"] < unbalanced["interval"] < dense["interval"] / 2
    assert recorded["layer_256_lanes"]["cycles_first_image"] <= 7_400
    assert recorded["dcgan64"]["simulated_cycles_per_second"] >= 300_000
    assert recorded["dcgan64_generation"]["seconds"] < 60
    assert recorded["dcgan64_generation"]["peak_gb"] < 4
