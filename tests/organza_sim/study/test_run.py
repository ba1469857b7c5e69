"""One tiny run of the study through its command: trained, measured, built, simulated, recorded, and not made again."""

import json
from pathlib import Path

import pytest

from organza.errors import UserError
from organza_sim.study.__main__ import main, wanted
from organza_sim.study.rows import all_rows
from organza_sim.study.table import read_table

RECIPES = Path(__file__).parents[3] / "examples/recipes"
STUDY = ["--recipes", str(RECIPES), "--data", "sample", "--steps", "1", "--jobs", "1"]


def test_first_seeds_come_first():
    rows = all_rows(RECIPES)
    pairs = wanted(rows, ["tgan", "teacher"], None)
    assert [(row.name, seed) for row, seed in pairs] == [("tgan", 0), ("teacher", 0), ("tgan", 1), ("tgan", 2)]
    assert len(wanted(rows, [], 1)) == len(rows)
    with pytest.raises(UserError, match=r"unknown row 'tgam'; known are teacher, student"):
        wanted(rows, ["tgam"], None)


def test_mistakes_are_one_line(tmp_path, capsys):
    assert main([*STUDY, "--output", str(tmp_path / "t.csv"), "nothing"]) == 2
    assert capsys.readouterr().err.startswith("organza_sim.study: unknown row 'nothing'; known are ")


@pytest.mark.rtl
def test_a_run_is_trained_measured_simulated_and_kept(tmp_path, capsys, monkeypatch):
    table = tmp_path / "table.csv"
    command = [*STUDY, "--output", str(table), "--work", str(tmp_path / "runs"), "--seeds", "1", "em-2"]
    assert main(command) == 0
    assert "em-2, seed 0: FID" in capsys.readouterr().out
    (run,) = read_table(table)
    assert (run.row, run.seed, run.steps) == ("em-2", 0, 1)
    assert run.rtl_images == 2 and run.rtl_bit_exact and run.rtl_cycle_exact
    assert run.cycles and run.interval and run.rtl_cycles == run.cycles + run.interval
    assert run.compression_ratio > 30 and len(run.program) == 64
    before = table.read_bytes()
    assert main(command) == 0 and table.read_bytes() == before
    assert "0 runs to make, 1 in " in capsys.readouterr().out
    assert main([*command, "--claims"]) == 0
    assert all(claim["holds"] is None for claim in json.loads(capsys.readouterr().out))
