"""How far codes of few bits move weights: QGAN's comparison of levels, without training."""

from __future__ import annotations

from pathlib import Path

import torch

from organza.compress.recipe import Recipe
from organza.compress.sources import load_start
from organza.compress.stages.quantize import make_coder
from organza_sim.study.rows import LEVELS

BITS = (1, 2, 3, 4)


@torch.no_grad()
def weight_errors(checkpoint: str) -> dict[tuple[str, int], dict[str, float]]:
    """For every layer of a shipped generator and number of bits the error of each of `LEVELS`, with one scale a tensor.

    An error is the mean square of what the code changes over the mean square of the weights.
    """
    recipe = Recipe.model_validate({"teacher": {"checkpoint": checkpoint, "discriminator": "none"}})
    made: dict[tuple[str, int], dict[str, float]] = {}
    for layer in load_start(recipe, Path()).generator.list:
        weight = layer.weight
        if weight is None or layer.passthrough:
            continue
        for bits in BITS:
            errors = made[layer.name, bits] = {}
            for kind in LEVELS:
                coder = make_coder({"code": kind, "bits": bits, "granularity": "tensor"}, layer.shape, layer.groups)
                coder.refit(weight, None)
                coder.finish(weight, None)
                coder.eval()
                errors[kind] = float((coder(weight, None) - weight).square().mean() / weight.square().mean())
    return made
