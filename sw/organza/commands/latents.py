"""Inputs for the commands that run a build: from a file, or drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from organza.commands.model import draw_inputs
from organza.errors import UserError

if TYPE_CHECKING:
    from organza.program import Program


def read_inputs(
    program: Program, latents: Path | None, images: int | None, seed: int
) -> np.ndarray:
    """Real inputs (N, channels, height, width): the first `images` of the file `latents`, or that many drawn (default 16).

    Raises `UserError` when the file does not fit the Program.
    """
    if latents is None:
        return draw_inputs(program.input_shape, images or 16, seed)
    from organza.loading import load_array

    x = load_array(latents)[:images]
    if x.shape[1:] == program.input_shape[:1]:
        x = x[:, :, None, None]
    # An array without its 1×1 map is fine, anything else would be read in the wrong order.
    if program.input_shape[1:] != x.shape[2:] or x.shape[1] != program.input_shape[0]:
        expected = ", ".join(map(str, program.input_shape))
        raise UserError(f"{latents}: must have shape (N, {expected}), not {x.shape}")
    return x


def model_name(folder: Path) -> str:
    """The name that a build's report gives its model."""
    try:
        return str(json.loads((folder / "report.json").read_text())["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name
