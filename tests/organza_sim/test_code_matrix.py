"""The shipped generator in every code: the record, some of it again, and all of it in `make test-full`."""

import json
from pathlib import Path

import pytest

from organza.codes import CODES, DIRECT, SERIAL
from organza.codes.spec import AROUND
from tests import code_matrix
from tests.code_matrix import SPECS, Spec

pytestmark = pytest.mark.rtl
RECORD = Path(__file__).parents[2] / "docs" / "results" / "code_matrix.json"
MIXED = Spec("layer0=huffman,layer1=sparse:75,layer2=affine:4,layer3=flexpoint")


def test_recorded_result():
    record = json.loads(RECORD.read_text())
    assert record["command"] == code_matrix.COMMAND
    assert [code_matrix.spec_of(row) for row in record["rows"]] == list(SPECS)
    assert all(row["wrong"] == [] and len(row["cycles"]) == 2 for row in record["rows"])


def test_the_rows_have_everything():
    assert set(CODES) <= {spec.code for spec in SPECS} and MIXED in SPECS
    for outer, inside in AROUND.items():
        inner = {spec.code.partition("+")[2].partition(":")[0] or "linear" for spec in SPECS if spec.code.startswith(outer)}
        assert inner == set(inside), outer
    weight = {spec.code.partition(":")[0] for spec in SPECS if spec.order == code_matrix.WEIGHT}
    assert {*DIRECT, *SERIAL} - weight == set()
    assert {spec.code for spec in SPECS if spec.memory == code_matrix.STREAMS} == set(SERIAL)
    assert any(spec.joint_coding == "rle" for spec in SPECS) and any("layer0=weight" in spec.order for spec in SPECS)


@pytest.mark.full
def test_four_codes_in_one_generator():
    assert code_matrix.check(MIXED)["wrong"] == []


@pytest.mark.full
def test_what_is_wrong_is_reported(monkeypatch):
    monkeypatch.setattr(code_matrix, "simulate_cycles", lambda *args, **kwargs: type("", (), {"first": 0, "sent": [1]}))
    wrong = code_matrix.check(MIXED)["wrong"]
    assert [line.split(":")[0] for line in wrong] == ["free", "stalled"]


@pytest.mark.full
@pytest.mark.parametrize("spec", SPECS, ids=[spec.name for spec in SPECS])
def test_every_code(spec):
    assert code_matrix.check(spec)["wrong"] == []
