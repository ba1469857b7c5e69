"""`report.json` and `report.html` of an exploration: a table, and a picture of every front."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from organza_sim.explore import AXES, Misfit, Point, front
from organza_sim.report import NOMINAL_CLOCK

PICTURES = {axis: f"front_{axis}.svg" for axis in AXES}
MARKERS = "osD^vP*X"  # by board
COLOURS = ("#2f6fb4", "#d9822b", "#3b8f5a", "#8e5bb5", "#b5445b", "#4f8a8b", "#7a6a4f", "#5b6b7b")  # by code
NOTE = (
    "Cycles are exact, multipliers and block RAMs counted, LUTs predicted by a model (docs/planner.md has its errors), energy is that of a 45 nm process. "
    f"Designs on a board run at its clock and include its host, others run at a nominal {NOMINAL_CLOCK / 1e6:g} MHz. What a code does to pictures is not looked at here: "
    "train for it with organza compress."
)


def report_of(model: str, points: list[Point], misfits: list[Misfit]) -> dict[str, Any]:
    """What `report.json` holds."""
    return {
        "model": model, "nominal_clock_hz": NOMINAL_CLOCK, "points": [point.report() for point in points],
        "misfits": [vars(misfit) for misfit in misfits],
    }  # fmt: skip


def write_report(folder: Path, model: str, points: list[Point], misfits: list[Misfit]) -> dict[str, Any]:
    """Write everything into the existing `folder`; what `report.json` holds."""
    report = report_of(model, points, misfits)
    pictures = {axis: picture(points, axis) for axis in AXES}
    for axis, name in PICTURES.items():
        (folder / name).write_text(pictures[axis])
    (folder / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    (folder / "report.html").write_text(_page(model, points, misfits, pictures))
    return report


def picture(points: list[Point], axis: str) -> str:
    """SVG: images a second over one axis; fronts are lines and their points are filled."""
    codes = list(dict.fromkeys(point.code for point in points))
    boards = list(dict.fromkeys(point.board for point in points))
    # Names of parts by a hash of their content and this, so that the same points give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "organza", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for board in boards:
            best = front((point for point in points if point.board == board), axis)
            axes.step([getattr(point, axis) for point in best], [point.images_per_second for point in best], where="post", color="#5b6b7b", linewidth=1)
        for point in points:
            colour = COLOURS[codes.index(point.code) % len(COLOURS)]
            axes.plot(
                getattr(point, axis), point.images_per_second, MARKERS[boards.index(point.board) % len(MARKERS)], color=colour,
                markerfacecolor=colour if axis in point.front else "none",
            )  # fmt: skip
        for code, colour in zip(codes, COLOURS, strict=False):
            axes.plot([], [], "s", color=colour, label=code)
        for board, marker in zip(boards, MARKERS, strict=False):
            axes.plot([], [], marker, color="#5b6b7b", label=board or "by lanes")
        axes.set(xlabel=AXES[axis], ylabel="images a second", yscale="log")
        if min(getattr(point, axis) for point in points) > 0:
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _page(model: str, points: list[Point], misfits: list[Misfit], pictures: dict[str, str]) -> str:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("organza_sim"), PackageLoader("organza")]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True,
    )  # fmt: skip
    return environment.get_template("explore.html.j2").render(
        title=f"{model}, explored", columns=1, note=NOTE, points=points, misfits=misfits, axes=AXES,
        pictures={AXES[axis]: "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode() for axis, text in pictures.items()},
        version=importlib.metadata.version("organza"),
    )  # fmt: skip
