"""The large matrix: its recorded result, a few of its cases, and all of it in `make test-full`."""

import json
from pathlib import Path

import pytest

from organza.codes import CODES
from tests import matrix
from tests.organza_hw.patterns import CROSSED
from tests.organza_sim.layer_cases import EVERYTHING, WEIGHT_ORDER

pytestmark = pytest.mark.rtl
RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize("file, command, cases", [
    ("matrix.json", matrix.COMMAND, matrix.ROWS), ("matrix_orders.json", matrix.COMMAND + " --orders", matrix.BOTH),
])  # fmt: skip
def test_recorded_result(file, command, cases):
    record = json.loads((RESULTS / file).read_text())
    assert record["command"] == command
    assert [record["layers"], record["pipelines"]] == list(cases.values())
    assert record["runs"] == 3 * (record["layers"] + record["pipelines"])
    assert record["images"] == 3 * record["runs"]
    assert record["wrong"] == []
    assert record["stall_pairs"] == len(CROSSED)
    if cases is matrix.ROWS:
        assert set(record["covered"]) >= EVERYTHING
    else:
        assert set(record["covered"]) >= WEIGHT_ORDER | {"row order", "weight order", "streamed", "groups", "output padding"}
        assert set(record["codes"]) == set(CODES) and record["coded_joints"] == record["pipelines"] // 2


def test_a_small_run():
    made = matrix.run(1, 1, orders=True)
    assert made["wrong"] == [] and made["runs"] == 6 and made["coded_joints"] == 1 and "weight order" in made["covered"]


@pytest.mark.parametrize("kind, number", [("layer", 300), ("layer", 301), ("pipeline", 80)])
def test_cases_beyond_the_record(kind, number):
    result = matrix.check(kind, number)
    assert result["wrong"] == []
    assert (result["runs"], result["images"]) == (3, 9)


def test_what_is_wrong_is_reported(monkeypatch):
    monkeypatch.setattr(matrix, "simulate_cycles", lambda *args, **kwargs: type("", (), {"first": 0, "sent": [1]}))
    result = matrix.check("layer", 0)
    assert len(result["wrong"]) == 3
    assert result["wrong"][0].startswith("layer 0, source pauses 'never', sink pauses 'never': [")


@pytest.mark.full
@pytest.mark.parametrize("part", range(10))
def test_whole_matrix(part):
    """Other cases than the recorded ones."""
    for number in range(1000 + 30 * part, 1030 + 30 * part):
        assert matrix.check("layer", number)["wrong"] == []
    for number in range(1000 + 8 * part, 1008 + 8 * part):
        assert matrix.check("pipeline", number)["wrong"] == []
    for number in range(1000 + 10 * part, 1010 + 10 * part):
        assert matrix.check("weight layer", number)["wrong"] == []
    for number in range(1000 + 4 * part, 1004 + 4 * part):
        assert matrix.check("mixed pipeline", number)["wrong"] == []
