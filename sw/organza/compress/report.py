"""`report.json` and `report.html` of a run."""

from __future__ import annotations

import base64
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from organza.checkpoint import write_atomically
from organza.compress.run_folder import IMAGES_FILE, PAGE_FILE, REPORT_FILE, write_json

EXPLANATION = (
    "FID, KID and IS are means and deviations over the seeds, by the network that the column names; two generators whose "
    "difference is below two deviations are equal. PSNR is to the teacher's pictures of the same latents. Bits count everything "
    "that must be stored: weights, indices, tables, constants; layers without a code count 32 bits a number, and run with 8 on "
    "the chip. MACs an image: at every output position; of weights that meet a real input; without those that lanes skip."
)


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write both files into `folder`; `images.png` of the stages must lie in theirs."""
    write_json(folder / REPORT_FILE, report)
    write_atomically(folder / PAGE_FILE, render(folder, report).encode())


def render(folder: Path, report: dict[str, Any]) -> str:
    """The page: one file that needs nothing else."""
    environment = Environment(loader=PackageLoader("organza"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    stages = report["stages"]
    names = [name for name in stages[-1] if name.split("-")[0] in ("FID", "KID", "IS")]
    program = report["program"]
    return environment.get_template("compression.html.j2").render(
        title=f"{report['teacher']}, compressed", about=report["about"], explanation=EXPLANATION, facts=_facts(report, names),
        sheets=[{"title": row["name"], "url": _picture(folder / row["folder"] / IMAGES_FILE)} for row in stages],
        columns=[*names, *(title for title, _, _ in COLUMNS)],
        rows=[{"name": row["name"], "cells": [*(_spread(row.get(name)) for name in names), *_cells(row)]} for row in stages],
        notes=[
            {"title": f"{number}. {row['name']}", "settings": json.dumps(row["settings"]), "lines": _lines(row["notes"])}
            for number, row in enumerate(stages) if "settings" in row
        ],
        version=importlib.metadata.version("organza"), program=None if program is None else program["hash"],
    )  # fmt: skip


# Title, key and format of the columns behind the scores.
COLUMNS = (
    ("PSNR, dB", "psnr_db", "{:.1f}"), ("bits", "bits", "{:,}"), ("smaller", "compression_ratio", "{:.1f}×"),
    ("weights only", "compression_ratio_weights", "{:.1f}×"), ("MACs by outputs", "macs_output_counted", "{:,}"),
    ("effectual", "macs_effectual", "{:,}"), ("executed", "macs_executed", "{:,}"), ("lanes", "lanes", "{:,}"),
    ("cycles", "cycles", "{:,}"), ("interval", "interval", "{:,}"),
)  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    return ["–" if row.get(key) is None else form.format(row[key]) for _, key, form in COLUMNS]


def _spread(value: dict[str, Any] | None) -> str:
    return "–" if value is None else f"{value['mean']:.2f} ± {value['deviation']:.2f}"


def _facts(report: dict[str, Any], names: list[str]) -> list[dict[str, str]]:
    last, first = report["stages"][-1], report["stages"][0]
    made = [{"name": "smaller than float32", "value": f"{last['compression_ratio']:.1f}×", "about": "everything counted"}]
    made += [
        {"name": name, "value": _spread(last[name]), "about": f"teacher {_spread(first.get(name))}"} for name in names
    ]
    if last.get("psnr_db") is not None:
        made.append({"name": "PSNR", "value": f"{last['psnr_db']:.1f} dB", "about": "to the teacher"})
    if "interval" in last:
        made.append({"name": "an image every", "value": f"{last['interval']:,} cycles", "about": f"{last['lanes']} lanes"})
    return made


def _lines(notes: dict[str, Any], place: str = "") -> list[dict[str, str]]:
    """Notes as lines: a table inside a table is one line of its values."""
    made = []
    for name, value in notes.items():
        inside = isinstance(value, dict) and any(isinstance(part, dict) for part in value.values())
        if inside:
            made += _lines(value, f"{place}{name} ")
        else:
            made.append({"name": f"{place}{name}", "text": _text(value)})
    return made


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _picture(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
