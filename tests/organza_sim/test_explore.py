"""Exploration: fronts against their definition, points that are what planner and model say, and a report that stands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.codes.spec import parse_spec
from organza.errors import UserError
from organza_sim.energy import program_energy
from organza_sim.explore import AXES, Misfit, Point, explore, front, with_fronts
from organza_sim.explore_report import picture, write_report
from organza_sim.planner import plan_program
from organza_sim.resources.model import Estimator
from organza_sim.ways_out import with_code
from tests.tiny import tiny_program


def point(rate: float, luts: int, board: str = "") -> Point:
    return Point(
        code="linear", board=board, lanes=1, engines=2, images_per_second=rate, interval=1, cycles=1, luts=luts, multipliers=1, block_rams=1,
        ram_bits=luts, energy_uj=luts / 7, stored_bits=1,
    )  # fmt: skip


def test_fronts_are_what_no_other_point_beats() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        points = [point(int(rate), int(luts)) for rate, luts in rng.integers(1, 12, (25, 2))]
        found = {(p.images_per_second, p.luts) for p in front(points, "luts")}
        assert found == {
            (p.images_per_second, p.luts) for p in points
            if not any(
                q.images_per_second >= p.images_per_second and q.luts <= p.luts and (q.images_per_second, q.luts) != (p.images_per_second, p.luts)
                for q in points
            )
        }  # fmt: skip
        rates = [p.images_per_second for p in front(points, "luts")]
        assert rates == sorted(rates)


def test_boards_have_fronts_of_their_own() -> None:
    slow, fast, other = with_fronts([point(1, 50), point(9, 10), point(5, 40, "x")])
    assert slow.front == () and fast.front == other.front == tuple(AXES)


@pytest.fixture(scope="module")
def found() -> tuple[list[Point], list[Misfit]]:
    program = tiny_program()
    programs = {"linear": program, "ternary": with_code(program, parse_spec("ternary"))}
    return explore(programs, [1, 2, 6, 500, 900], [])


def test_points_are_what_planner_and_model_say(found: tuple[list[Point], list[Misfit]]) -> None:
    """Too few lanes and lanes without work are left out."""
    points, misfits = found
    program = tiny_program()
    plans = [plan_program(program, lanes) for lanes in (2, 6, 500)]
    linear = [p for p in points if p.code == "linear"]
    assert not misfits and [p.lanes for p in linear] == [plan.lanes for plan in plans]
    for p, plan in zip(linear, plans, strict=True):
        used = Estimator(program).plan(plan)
        assert (p.luts, p.multipliers, p.block_rams) == (used.luts, used.multipliers, used.block_rams)
        assert p.engines == len(plan.engines) == len(program.nodes)
        assert (p.interval, p.cycles) == (plan.interval, plan.cycles) and p.images_per_second == pytest.approx(1e8 / plan.interval, abs=0.1)
        assert p.energy_uj == pytest.approx(sum(e.total for e in program_energy(program, plan)), abs=1e-4)
    assert any("luts" in p.front for p in points if p.code == "ternary")


def test_boards_and_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_, **__):
        raise UserError("does not fit, and three ways out")

    monkeypatch.setattr("organza_sim.explore.plan_within", refused)
    points, misfits = explore({"linear": tiny_program()}, [], ["ulx3s-25f"])
    assert points == [] and misfits == [Misfit("linear", "ulx3s-25f", "does not fit, and three ways out")]
    with pytest.raises(UserError, match="unknown board 'nowhere'"):
        explore({"linear": tiny_program()}, [], ["nowhere"])


def test_report(tmp_path: Path, found: tuple[list[Point], list[Misfit]]) -> None:
    points, _ = found
    write_report(tmp_path, "<tiny>", points, [Misfit("linear", "x", "too <large>")])
    report = json.loads((tmp_path / "report.json").read_text())
    assert [set(p) for p in report["points"]] == [set(points[0].report())] * len(points) and report["model"] == "<tiny>"
    page = (tmp_path / "report.html").read_text()
    assert "&lt;tiny&gt;" in page and "too &lt;large&gt;" in page and "<tiny>" not in page
    assert page.count("data:image/svg+xml;base64,") == len(AXES) and "http://" not in page.replace("http://www.w3.org", "")
    for axis in AXES:
        text = (tmp_path / f"front_{axis}.svg").read_text()
        assert text.count("</svg>") == 1 and text == picture(points, axis)
