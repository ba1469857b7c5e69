"""The shipped generator in every code: the record, some of it again, and all of it in `make test-full`."""

import json
from pathlib import Path

import pytest

from organza.codes import CODES
from tests import code_matrix

pytestmark = pytest.mark.rtl
RECORD = Path(__file__).parents[2] / "docs" / "results" / "code_matrix.json"
MIXED = 1 + max(k for k, (code, _) in enumerate(code_matrix.SPECS) if "layer" in code)
NAMES = [" ".join(spec).strip() for spec in code_matrix.SPECS]


def test_recorded_result():
    record = json.loads(RECORD.read_text())
    assert record["command"] == code_matrix.COMMAND
    assert [(row["code"], row["arithmetic"]) for row in record["rows"]] == list(code_matrix.SPECS)
    assert set(CODES) <= {row["code"] for row in record["rows"]}
    assert all(row["wrong"] == [] and len(row["cycles"]) == 2 for row in record["rows"])


def test_four_codes_in_one_generator():
    assert code_matrix.check(*code_matrix.SPECS[MIXED - 1])["wrong"] == []


def test_what_is_wrong_is_reported(monkeypatch):
    monkeypatch.setattr(code_matrix, "simulate_cycles", lambda *args, **kwargs: type("", (), {"first": 0, "sent": [1]}))
    wrong = code_matrix.check(*code_matrix.SPECS[MIXED - 1])["wrong"]
    assert [line.split(":")[0] for line in wrong] == ["free", "stalled"]


@pytest.mark.full
@pytest.mark.parametrize("spec", code_matrix.SPECS, ids=NAMES)
def test_every_code(spec):
    assert code_matrix.check(*spec)["wrong"] == []
