"""Weights for a chip that loads them, of commands that take `--weights`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organza.errors import UserError

if TYPE_CHECKING:
    from organza.program import Program
    from organza_hw.build import Chip

Weights = Annotated[
    Path | None,
    typer.Option(help="Program (.safetensors) or build folder whose weights are loaded, into a chip of 'organza build --loadable'."),
]


def read_weights(chip: Chip, path: Path | None) -> Program:
    """What the chip computes with the weights of `path`, or its own if that is None.

    Raises `UserError` naming the file, and what of it does not fit the chip.
    """
    from organza.loadable import fitted
    from organza.program_file import load_program

    if path is None:
        return chip.program
    if not chip.program.loads:
        raise UserError(f"--weights {path}: the weights of this chip are in its bitstream; build it with --loadable")
    file = path / "program.safetensors" if path.is_dir() else path
    program = load_program(file)
    try:
        return fitted(program, chip.program)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
