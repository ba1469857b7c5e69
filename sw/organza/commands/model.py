"""What a command is given to build: a shipped name, a checkpoint, a Program, or the user's own Python file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from organza.assets import GENERATOR as SHIPPED
from organza.assets import TEACHER, generator_file
from organza.errors import UserError

if TYPE_CHECKING:
    from organza.float_layers import FloatLayer
    from organza.program import Program

CALIBRATION_IMAGES = 256
CALIBRATION_SEED = 0


@dataclass(frozen=True)
class Model:
    """A Program, the folded float layers that it was made from (None for a Program file), and real inputs."""

    name: str
    program: Program
    layers: list[FloatLayer] | None
    inputs: np.ndarray

    def real(self, x: np.ndarray) -> np.ndarray | None:
        """Float outputs of real inputs, or None without float layers."""
        if self.layers is None:
            return None
        from organza.float_layers import float_run

        return float_run(self.layers, x).numpy().astype(np.float64)


def draw_inputs(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """`count` standard normal inputs of `shape`, float64, the same for the same seed."""
    from organza.sampling import draw_latents

    flat = draw_latents(count, int(np.prod(shape)), seed)
    return flat.numpy().astype(np.float64).reshape(count, *shape)


def parse_shape(text: str) -> tuple[int, ...]:
    """``64,1,1`` as (64, 1, 1). Raises `UserError` for anything else."""
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape, default=0) < 1:
        raise UserError(
            f"--input-shape must be channels,height,width or features, e.g. 64,1,1, not {text!r}"
        )
    return shape


def load_model(
    source: str,
    *,
    weights: Path | None,
    input_shape: str | None,
    calibration: Path | None,
    method: str,
    code: str | None = None,
) -> Model:
    """The model that `source` names: see `organza build --help`. Raises `UserError` naming the file and what to do."""
    shape = None if input_shape is None else parse_shape(input_shape)
    path = Path(source)
    if not path.exists() and (shipped := generator_file(source)) is not None:
        path = shipped
    elif ":" not in source and path.suffix == ".py":
        raise UserError(f"{source}: name the function too, e.g. {source}:make_generator")
    python = ":" in source and path.suffix != ".safetensors"
    if not python:
        if weights is not None:
            raise UserError(
                f"--weights goes with a Python file like my_model.py:make_generator, not with {source}"
            )
        if not path.is_file():
            raise UserError(
                f"{source}: no such file; give my_model.py:make_generator, a .safetensors file, {SHIPPED} or {TEACHER}"
            )
        if _is_program(path):
            if code is not None:
                raise UserError(f"--code goes with a float model; the Program {source} has its codes")
            return _from_program(path, shape, calibration)
        shape = shape or _latent_shape(path)
    target = source if python else path
    return _lowered(target, source, weights, shape, calibration, method, code)


def _lowered(
    target: str | Path,
    name: str,
    weights: Path | None,
    shape: tuple[int, ...] | None,
    calibration: Path | None,
    method: str,
    code: str | None,
) -> Model:
    from organza.lowering import fold_generator, layer_codes
    from organza.quantize import quantize

    if calibration is None:
        if shape is None:
            raise UserError(
                "--calibration must be a .npy file of real inputs (N, ...); without one, --input-shape must say "
                "what shape the model takes, e.g. 64,1,1, and normally distributed inputs are drawn"
            )
        inputs = draw_inputs(shape, CALIBRATION_IMAGES, CALIBRATION_SEED)
    else:
        inputs = _calibration(calibration, shape)
    layers, values = fold_generator(target, inputs, weights=weights)
    codes = None if code is None else layer_codes(code, layers)
    program = quantize(layers, values, calibration=method, codes=codes)
    short = Path(name).stem if isinstance(target, Path) else Path(name.rpartition(":")[0]).stem
    return Model(short, program, layers, values)


def _from_program(path: Path, shape: tuple[int, ...] | None, calibration: Path | None) -> Model:
    from organza.program_file import load_program

    program = load_program(path)
    if calibration is not None:
        inputs = _calibration(calibration, shape).reshape(-1, *program.input_shape)
    else:
        inputs = draw_inputs(program.input_shape, CALIBRATION_IMAGES, CALIBRATION_SEED)
    return Model(path.stem, program, None, inputs)


def _calibration(path: Path, shape: tuple[int, ...] | None) -> np.ndarray:
    from organza.loading import load_array

    inputs = load_array(path)
    if shape is not None and inputs.shape[1:] != shape:
        same = inputs[0].size == np.prod(shape) and all(
            size == 1 for size in (*inputs.shape[2:], *shape[1:])
        )
        if not same:
            raise UserError(
                f"{path}: must have shape (N, {', '.join(map(str, shape))}), not {inputs.shape}"
            )
        inputs = inputs.reshape(len(inputs), *shape)
    return inputs


def is_program(source: str) -> bool:
    """Is it the path of a Program?"""
    return Path(source).is_file() and _is_program(Path(source))


def _is_program(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    from organza.program_file import KEY

    try:
        with safe_open(str(path), framework="np") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False  # the loader of checkpoints says what is wrong


def _latent_shape(path: Path) -> tuple[int, ...]:
    from organza.checkpoint import load_generator

    try:
        generator, _ = load_generator(path)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error
    return generator.config.latent, 1, 1
