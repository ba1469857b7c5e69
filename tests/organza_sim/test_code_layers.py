"""Layers in every code, kind of lanes, order and memory: the record, some of them again, and all in `make test-full`."""

import json
from pathlib import Path

import pytest

from organza.codes import CODES
from tests import code_layers

pytestmark = pytest.mark.rtl
RECORD = Path(__file__).parents[2] / "docs" / "results" / "code_layers.json"
NAMES = [" ".join(row) for row in code_layers.rows()]
# Rows of lanes and memories that other tests of `make test` have by chance only.
SOME = ("linear:4 lut row rom", "rle+affine plain weight stream")


def test_recorded_result():
    record = json.loads(RECORD.read_text())
    keys = "code", "arithmetic", "order", "memory"
    assert record["command"] == code_layers.COMMAND and record["images"] == code_layers.IMAGES
    assert [tuple(row[key] for key in keys) for row in record["rows"]] == list(code_layers.rows())
    assert all(row["wrong"] == [] and row["layers"] == 3 and row["runs"] == 6 for row in record["rows"])


def test_the_rows_have_everything():
    rows = code_layers.rows()
    assert set(CODES) == {name.partition("+")[0].partition(":")[0] for name, *_ in rows}
    assert {lanes for _, lanes, *_ in rows} == {"plain", "packed", "lut", "xnor", "bins"}
    assert {(order, memory) for *_, order, memory in rows} == {
        ("row", "rom"), ("row", "expand"), ("weight", "rom"), ("weight", "expand"), ("weight", "stream")
    }  # fmt: skip
    *unbalanced, last = code_layers.LAYERS
    assert all(kernel % stride for _, *axes in unbalanced for _, kernel, stride, _, _ in axes)
    (_, _, groups), (_, _, *y), (_, _, *x) = last
    assert groups == 2 and y[0] != x[0] and y[1] > y[2]  # strides differ, output padding


@pytest.mark.parametrize("name", SOME)
def test_some_rows(name):
    assert code_layers.check(code_layers.rows()[NAMES.index(name)])["wrong"] == []


def test_what_is_wrong_is_reported(monkeypatch):
    monkeypatch.setattr(code_layers, "LAYERS", code_layers.LAYERS[:1])
    monkeypatch.setattr(code_layers, "simulate_cycles", lambda *args, **kwargs: type("", (), {"first": 0, "sent": [1]}))
    wrong = code_layers.check(code_layers.rows()[0])["wrong"]
    assert len(wrong) == 2 and wrong[0].startswith("layer 0, source pauses 'never', sink pauses 'never': [")


@pytest.mark.full
@pytest.mark.parametrize("row", code_layers.rows(), ids=NAMES)
def test_every_row(row):
    assert code_layers.check(row)["wrong"] == []
