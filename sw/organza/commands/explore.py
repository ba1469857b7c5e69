"""`organza explore`: what a generator could be, over codes, lanes and boards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from organza.commands.common import Force, Json, Output, print_json
from organza.commands.model import SHIPPED, Model, is_program, load_model
from organza.commands.steps import Steps
from organza.errors import UserError
from organza.output_folder import new_folder

CODES = "linear,linear:4,ternary,binary"
LANES = "16,32,64,133"
AS_IT_IS = "as it is"  # a Program, which has its codes


def explore(
    output: Output,
    source: Annotated[str, typer.Argument(help="As of 'organza build'.")] = SHIPPED,
    weights: Annotated[Path | None, typer.Option(help="Weights of a Python generator: .safetensors.")] = None,
    input_shape: Annotated[str | None, typer.Option(help="Shape of one input, e.g. 64,1,1; needed without --calibration.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Typical inputs (N, ...): .npy.")] = None,
    codes: Annotated[str | None, typer.Option(help=f"Codes of all layers, with commas between them. Default: {CODES}; a Program has its own.")] = None,
    lanes: Annotated[str, typer.Option(help="Numbers of lanes, with commas between them.")] = LANES,
    boards: Annotated[str, typer.Option(help="Boards whose budgets are filled, with commas between them; see docs/boards.md.")] = "",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Plan a generator in many ways: images a second against LUTs, block RAM and energy, and the front of what no other design beats.

    Example: organza explore --codes linear,ternary --lanes 16,64 --boards ulx3s-25f -o build/explored
    """
    counts = _numbers(lanes)
    with Steps(quiet=as_json) as steps, new_folder(output, replace=force) as folder:
        models: dict[str, Model] = {}
        for name in _names(codes) or ([AS_IT_IS] if is_program(source) else _names(CODES)):
            with steps.step(f"Loading {source}, {name}"):
                models[name] = load_model(
                    source, weights=weights, input_shape=input_shape, calibration=calibration, method="mse",
                    code=None if name == AS_IT_IS else name,
                )  # fmt: skip
        with steps.step("Planning") as say:
            from organza_sim.explore import explore as find
            from organza_sim.explore_report import write_report

            programs = {name: model.program for name, model in models.items()}
            points, misfits = find(programs, counts, _names(boards), say=say)
            if not points:
                raise UserError("no design: " + ("; ".join(m.reason for m in misfits) or f"--lanes {lanes} are too few for every code"))
            report = write_report(folder, next(iter(models.values())).name, points, misfits)
    if as_json:
        print_json(report)
        return
    print("\n".join([*_table(report), f"wrote {output}; look at {output / 'report.html'}"]))


def _names(text: str | None) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))


def _numbers(text: str) -> list[int]:
    try:
        made = sorted({int(part) for part in _names(text)})
    except ValueError:
        made = []
    if not made or made[0] < 1:
        raise UserError(f"--lanes must be numbers from 1 on with commas between them, e.g. {LANES}, not {text!r}")
    return made


def _table(report: dict) -> list[str]:
    """The designs for people; a star for each front that one is on."""
    rows = [("code", "board", "lanes", "engines", "images/s", "LUTs", "multipliers", "block RAMs", "µJ", "fronts")]
    rows += [
        (
            point["code"], point["board"] or "-", str(point["lanes"]), str(point["engines"]), f"{point['images_per_second']:,.0f}", f"{point['luts']:,}",
            str(point["multipliers"]), str(point["block_rams"]), f"{point['energy_uj']:.3g}", "*" * len(point["front"]) or "-",
        )
        for point in report["points"]
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *(f"{misfit['code']}: {misfit['reason']}" for misfit in report["misfits"])]
