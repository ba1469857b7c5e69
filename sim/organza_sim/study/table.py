"""The table of the study: one line a run, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from organza.checkpoint import write_atomically
from organza.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a row.

    key : first digits of a hash of the recipe. Scores and `psnr_db` are those of the integer Program, or of the floats where there is
    none; so are empty fields. rtl_* : images that the RTL made of it, whether every bit and every cycle was right, and its cycles.
    """

    row: str
    seed: int
    steps: int
    key: str
    about: str
    fid: float | None = None
    kid: float | None = None
    inception_score: float | None = None
    psnr_db: float | None = None
    weight_bits: int
    bits: int
    compression_ratio: float
    compression_ratio_weights: float
    macs_output_counted: int
    macs_effectual: int
    macs_executed: int | None = None
    lanes: int | None = None
    cycles: int | None = None
    interval: int | None = None
    utilization: float | None = None
    program: str = ""
    rtl_images: int = 0
    rtl_bit_exact: bool = False
    rtl_cycle_exact: bool = False
    rtl_cycles: int | None = None
    seconds: float = 0.0


_FIELDS = {field.name: str(field.type).partition(" |")[0] for field in fields(Run)}


def read_table(path: Path) -> list[Run]:
    """The runs of a file, none if it does not exist. Raises `UserError` naming file and line."""
    if not path.exists():
        return []
    made = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or []) != list(_FIELDS):
            raise UserError(f"{path}: must have the columns {', '.join(_FIELDS)}; give another --output")
        for number, line in enumerate(reader, 2):
            try:
                made.append(Run(**{name: _parse(kind, line[name]) for name, kind in _FIELDS.items()}))
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}: line {number}: {error}") from error
    return made


def write_table(path: Path, runs: Iterable[Run], order: list[str]) -> None:
    """Write the runs, rows in `order` and their seeds rising."""
    place = {name: number for number, name in enumerate(order)}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_FIELDS), lineterminator="\n")
    writer.writeheader()
    for run in sorted(runs, key=lambda run: (place[run.row], run.seed)):
        writer.writerow({name: _format(getattr(run, name)) for name in _FIELDS})
    write_atomically(path, text.getvalue().encode())


def _format(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _parse(kind: str, text: str) -> Any:
    if kind == "str":
        return text
    if text == "":
        return None
    if kind == "bool":
        return bool(int(text))
    return int(text) if kind == "int" else float(text)
