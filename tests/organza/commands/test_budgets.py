"""`organza build` with budgets, `organza explore`: what they write, what `organza info` says of it, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from organza.program_file import save_program
from tests.organza.commands.command_line import refused, run
from tests.tiny import tiny_program


@pytest.fixture
def program(here: Path) -> str:
    save_program(tiny_program(), "tiny.safetensors")
    return "tiny.safetensors"


def test_build_for_a_board_and_what_info_says_of_it(program: str) -> None:
    made = run("build", program, "--board", "ulx3s-25f", "--luts", "5000", "-o", "out")
    assert made.exit_code == 0, made.output
    report = json.loads(Path("out/report.json").read_text())
    budget = report["budget"]
    assert report["board"] == budget["board"] == "ulx3s-25f"
    assert budget["limits"] == {"lanes": None, "luts": 5000, "multipliers": 28, "block_rams": 56}
    assert all(budget["used"][name] <= most for name, most in budget["limits"].items() if most is not None)
    said = f"predicted: {budget['used']['lanes']} lanes, {budget['used']['luts']:,} LUTs of 5,000"
    assert said in made.stdout and "limit: " in made.stdout
    shown = run("info", "out")
    assert said in shown.stdout and "limit: " in shown.stdout
    assert json.loads(run("info", "out", "--json").stdout)["budget"] == budget
    assert "Predicted LUTs" in Path("out/report.html").read_text()


def test_build_by_default_says_what_the_next_lanes_would_buy(program: str) -> None:
    made = run("build", program, "--lanes", "6", "-o", "out", "--json")
    budget = json.loads(made.stdout)["budget"]
    assert budget["board"] is None and budget["binds"] == "lanes" and budget["next"]["resource"] == "lanes"
    given = run("build", program, "--plan", "out/plan.json", "-o", "again", "--json")
    assert json.loads(given.stdout)["budget"] is None


def test_mistakes(program: str) -> None:
    refused("does not fit the budget even on 2 lanes: .* LUTs of 500 .*fewer bits: .*fewer channels: .*a larger board: ", "build", program, "--luts", "500", "-o", "out")
    refused("unknown board 'ulx3s'; known are", "build", program, "--board", "ulx3s", "-o", "out")
    refused("icebreaker: resources are modelled for the family ecp5", "build", program, "--board", "icebreaker", "-o", "out")
    refused("--goal must be interval or latency, not 'both'", "build", program, "--goal", "both", "-o", "out")
    refused("--bandwidth must be above 0, not -1", "build", program, "--bandwidth", "-1", "-o", "out")
    refused("a limit of lanes or of a device", "build", program, "--bandwidth", "1", "--goal", "latency", "-o", "out")
    Path("plan.json").write_text("{}")
    refused("--board must not be given with --plan", "build", program, "--board", "ulx3s-25f", "--plan", "plan.json", "-o", "out")


def test_explore(program: str) -> None:
    made = run("explore", program, "--lanes", "2,6", "-o", "out")
    assert made.exit_code == 0, made.output
    report = json.loads(Path("out/report.json").read_text())
    assert [point["lanes"] for point in report["points"]] == [2, 5] and report["points"][0]["code"] == "as it is"
    assert made.stdout.splitlines()[0].split() == ["code", "board", "lanes", "engines", "images/s", "LUTs", "multipliers", "block", "RAMs", "µJ", "fronts"]
    assert {path.name for path in Path("out").iterdir()} == {
        "report.json", "report.html", "front_luts.svg", "front_ram_bits.svg", "front_energy_uj.svg",
    }  # fmt: skip
    machines = run("explore", program, "--lanes", "2,6", "-o", "again", "--json")
    assert json.loads(machines.stdout) == report


def test_explore_refuses(program: str) -> None:
    refused("--lanes must be numbers from 1 on", "explore", program, "--lanes", "2,x", "-o", "out")
    refused("no design: --lanes 1 are too few for every code", "explore", program, "--lanes", "1", "-o", "out")
    refused("unknown board 'x'", "explore", program, "--lanes", "2", "--boards", "x", "-o", "out")
    refused("has its codes", "explore", program, "--codes", "ternary", "-o", "out")
