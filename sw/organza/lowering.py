"""From a generator to its Program in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from organza import checkpoint, loading
from organza.capture import capture
from organza.codes.binary import binarise_by_redundancy
from organza.codes.spec import CodeSpec, parse_codes
from organza.errors import UserError
from organza.float_layers import FloatLayer
from organza.fold import fold
from organza.program import Program
from organza.quantize import quantize

RECIPES = {"int8": 8}


def lower(
    generator: nn.Module | str | Path,
    inputs: Tensor | np.ndarray | str | Path,
    *,
    recipe: str = "int8",
    calibration: str = "mse",
    code: str | None = None,
    weights: str | Path | None = None,
) -> Program:
    """Capture, fold and quantise `generator`.

    Parameters
    ----------
    generator : module; or "file.py:function" (see `organza.loading.load_generator`: the file is
        executed); or a checkpoint of Organza's own generator, ending in .safetensors.
    inputs : real calibration inputs, (N, ...), or a .npy file of them; some hundred are enough, the
        first 256 are used. (N, features) means (N, features, 1, 1).
    recipe : "int8": 8-bit weights and activations.
    calibration : "mse", "percentile" or "max": how activations are clipped.
    code : weight code of all layers ("ternary") or of some ("layer1=codebook:16,layer2=binary",
        "redundant=binary"), see `organza.codes.spec`; others keep the recipe's.
    weights : safetensors file for a "file.py:function" generator.

    Raises
    ------
    TypeError : arguments of the wrong kind.
    UserError : naming the file, the layer or the argument, and what to do.
    """
    if not isinstance(recipe, str):
        raise TypeError(f"recipe must be the name of a recipe, not {recipe!r}")
    if recipe not in RECIPES:
        raise UserError(f"recipe must be one of {', '.join(sorted(RECIPES))}, not {recipe!r}")
    layers, values = fold_generator(generator, inputs, weights=weights)
    codes = layer_codes(code, layers) if code is not None else None
    return quantize(layers, values, weight_bits=RECIPES[recipe], calibration=calibration, codes=codes)


def layer_codes(text: str, layers: Sequence[FloatLayer]) -> dict[str, CodeSpec]:
    """Codes by layer name of what a user says, see `parse_codes`; "redundant" are ApGAN's layers to binarise."""
    redundant = [layer.name for layer in layers if not layer.passthrough and binarise_by_redundancy(*layer.input_shape)]
    return parse_codes(text, [layer.name for layer in layers], {"redundant": redundant})


def fold_generator(
    generator: nn.Module | str | Path,
    inputs: Tensor | np.ndarray | str | Path,
    *,
    weights: str | Path | None = None,
) -> tuple[list[FloatLayer], np.ndarray]:
    """The folded layers of `generator`, and `inputs` as float64 of the shape that the first layer
    reads.

    `float_run` of both is the floating-point model that PSNR compares with. Arguments and errors
    are those of `lower`.
    """
    module = _module(generator, weights)
    values = _inputs(inputs)
    layers = fold(capture(module, values))
    shape = layers[0].input_shape
    return layers, values.reshape(len(values), *shape)


def _module(generator: nn.Module | str | Path, weights: str | Path | None) -> nn.Module:
    if isinstance(generator, nn.Module):
        if weights is not None:
            raise UserError("weights go with a 'file.py:function' generator; a module has its own")
        return generator
    if not isinstance(generator, str | Path):
        raise TypeError(
            "generator must be a torch.nn.Module, 'file.py:function' or a .safetensors file, "
            f"not {type(generator).__name__}"
        )
    if Path(generator).suffix == ".safetensors":
        if weights is not None:
            raise UserError(f"{generator}: a checkpoint has its own weights; leave out {weights}")
        try:
            return checkpoint.load_generator(generator)[0]
        except (FileNotFoundError, ValueError) as error:
            raise UserError(str(error)) from error
    return loading.load_generator(str(generator), weights)


def _inputs(inputs: Tensor | np.ndarray | str | Path) -> np.ndarray:
    if isinstance(inputs, str | Path):
        return loading.load_array(inputs)
    if isinstance(inputs, Tensor):
        inputs = inputs.detach().cpu().to(torch.float64).numpy()
    if not isinstance(inputs, np.ndarray):
        raise TypeError(
            f"inputs must be a numpy array, a tensor or a .npy file, not {type(inputs).__name__}"
        )
    if not (np.issubdtype(inputs.dtype, np.floating) or np.issubdtype(inputs.dtype, np.integer)):
        raise TypeError(f"inputs must hold real numbers, not {inputs.dtype}")
    values = inputs.astype(np.float64)
    if values.ndim < 2 or not values.size:
        raise UserError(
            f"inputs must have shape (N, ...) with N ≥ 1, not {values.shape}; add the batch dimension"
        )
    if not np.isfinite(values).all():
        raise UserError("inputs must be finite, but hold NaN or an infinity")
    return values
