"""Masks of pruned weights: elements, vectors, lane blocks and kernels, by magnitude or at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from organza.codes.pruning import keep
from organza.compress.chain import ChainLayer
from organza.compress.pruning.config import PruneConfig
from organza.errors import UserError
from organza.sampling import seeded

# Purpose of random draws, apart from those of fine-tuning.
_SCORES = 30


def unit_numbers(shape: tuple[int, int, int, int], groups: int, granularity: str, block: int) -> np.ndarray:
    """For every weight (ci, co // groups, ky, kx) the number of the unit that it is pruned with, from 0."""
    ci, cog, ky, kx = shape
    if granularity == "block":
        cig = ci // groups
        channel = np.arange(ci)
        first = channel // cig * -(-cig // block) + channel % cig // block
        parts = first[:, None, None, None], np.arange(cog)[:, None, None], np.arange(ky)[:, None], np.arange(kx)
    else:
        wide = {"element": (1, 1), "row": (1, 0), "column": (0, 1), "kernel": (0, 0)}[granularity]
        parts = np.arange(ci)[:, None, None, None], np.arange(cog)[:, None, None], *(
            part * each for part, each in zip((np.arange(ky)[:, None], np.arange(kx)), wide, strict=True)
        )
    key = np.zeros(shape, np.int64)
    for part, count in zip(parts, (ci, cog, ky, kx), strict=True):
        key = key * count + part
    return np.unique(key, return_inverse=True)[1].reshape(shape)


def importance(layer: ChainLayer, criterion: str, seed: int, number: int) -> np.ndarray:
    """Of every weight, float64 like the weights; 0 where it is pruned already, so that what is gone stays gone.

    "magnitude": |w|. "random": the same numbers every time for the same seed and layer `number`, never 0.
    """
    weight = layer.masked_weight()
    if weight is None:
        raise UserError(f"{layer.name}: weights that a code makes cannot be pruned; prune before quantize")
    if criterion == "magnitude":
        return weight.detach().abs().double().numpy()
    drawn = 0.5 + 0.5 * torch.rand(layer.shape, generator=seeded(seed, _SCORES, number), dtype=torch.float64).numpy()
    return drawn if layer.mask is None else drawn * layer.mask.numpy()


def mask_weights(layers: Sequence[ChainLayer], config: PruneConfig, amount: float) -> None:
    """Give layers masks that prune `amount` of their weights, or of all weights together; the least important units.

    A unit counts with the mean of its weights' importances. Raises `UserError` for a layer that would have no weights left;
    masks are then as before.
    """
    scores = [importance(layer, config.criterion, config.seed, number) for number, layer in enumerate(layers)]
    if config.balanced:
        masks = [
            keep(score, layer.groups, 1 - amount, config.block) & (score > 0) for layer, score in zip(layers, scores, strict=True)
        ]
    else:
        units = [unit_numbers(layer.shape, layer.groups, config.granularity, config.block) for layer in layers]
        if config.scope == "layer":
            kept = [_keep_units([score], [unit], amount)[0] for score, unit in zip(scores, units, strict=True)]
        else:
            kept = _keep_units(scores, units, amount)
        masks = [flags[unit] for flags, unit in zip(kept, units, strict=True)]
    for layer, mask in zip(layers, masks, strict=True):
        if not mask.any():
            raise UserError(
                f"{layer.name}: pruning {amount:.0%} by {config.granularity} leaves no weights of {mask.size}; choose a smaller "
                "amount, a finer granularity or scope = \"layer\""
            )
    for layer, mask in zip(layers, masks, strict=True):
        layer.mask = torch.from_numpy(mask)


def _keep_units(scores: list[np.ndarray], units: list[np.ndarray], amount: float) -> list[np.ndarray]:
    """Flags of the units that stay, for every layer; the least important go while their weights are at most `amount` of all.

    Half a unit more or less is rounded; ties keep the later.
    """
    sizes = [np.bincount(unit.ravel()) for unit in units]
    means = [np.bincount(unit.ravel(), score.ravel()) / size for unit, score, size in zip(units, scores, sizes, strict=True)]
    order = np.argsort(np.concatenate(means), kind="stable")
    weights = np.concatenate(sizes)
    gone = np.cumsum(weights[order])
    flags = np.ones(len(order), bool)
    flags[order[gone - weights[order] / 2 < amount * weights.sum()]] = False
    return np.split(flags, np.cumsum([len(size) for size in sizes])[:-1])
