"""Which channels go first, and channels that are closed before they are removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from organza.compress.chain import Chain, ChainLayer
from organza.compress.pruning.config import PruneConfig
from organza.compress.pruning.widths import Width
from organza.errors import UserError
from organza.sampling import seeded

_SCORES = 31


@torch.no_grad()
def filters(layer: ChainLayer) -> Tensor:
    """Weights of every output channel as the chip has them, normalisation folded: (co, weights of the channel)."""
    weight = layer.effective_weight().detach()
    rows = weight.reshape(layer.groups, -1, *weight.shape[1:]).transpose(1, 2).reshape(layer.co, -1)
    if layer.norm is None:
        return rows
    assert layer.norm.running_var is not None
    return rows * (layer.norm.weight / (layer.norm.running_var + layer.norm.eps).sqrt())[:, None]


@torch.no_grad()
def outgoing(layer: ChainLayer) -> Tensor:
    """Weights that read every input channel: (ci, weights)."""
    return layer.effective_weight().detach().flatten(1)


def unit_norms(rows: Tensor, channels: Sequence[Sequence[int]], p: int) -> np.ndarray:
    """The p-norm over all rows of every unit."""
    return np.array([float(rows[list(unit)].norm(p)) for unit in channels])


def unit_scores(chain: Chain, width: Width, config: PruneConfig) -> np.ndarray:
    """Importance of the units of a width, (units,); 0 for closed ones.

    "magnitude" by "filter" is the L1 norm of the folded weights that make a unit (Li et al., arXiv:1608.08710), by "channel" times
    that of the weights that read it.
    """
    read = unit_norms(outgoing(chain.list[width.read]), width.inputs, 1)
    if config.criterion == "random":
        drawn = 0.5 + 0.5 * torch.rand(width.units, generator=seeded(config.seed, _SCORES, width.made)).numpy()
        return np.where(read > 0, drawn, 0)
    made = unit_norms(filters(chain.list[width.made]), width.outputs, 1)
    return np.where(read > 0, made, 0) if config.granularity == "filter" else made * read


def closed_units(chain: Chain, width: Width) -> frozenset[int]:
    """Units of which nothing is read."""
    return frozenset(np.flatnonzero(unit_norms(outgoing(chain.list[width.read]), width.inputs, 1) == 0).tolist())


def count_of(width: Width, amount: float) -> int:
    """Units that `amount` of a block of the width are, rounded down.

    Raises `UserError` if none would be left.
    """
    size = width.units // width.blocks
    count = int(amount * size)
    if count >= size:
        raise UserError(f"{width.name}: pruning {amount:.0%} of {size} channels leaves none; choose a smaller amount")
    return count


def weakest(width: Width, scores: np.ndarray, amount: float) -> list[int]:
    """The units with the lowest scores, the same number of every block."""
    size, count = width.units // width.blocks, count_of(width, amount)
    made: list[int] = []
    for start in range(0, width.units, size):
        made += (start + np.argsort(scores[start : start + size], kind="stable")[:count]).tolist()
    return sorted(made)


def weakest_of_all(widths: Sequence[Width], scores: Sequence[np.ndarray], amount: float) -> list[list[int]]:
    """For every width the units that belong to the lowest `amount` of all scores, each as a share of its width's mean.

    A width with blocks goes by the first unit of each and its counterparts. Raises `UserError` if a layer has none left.
    """
    shares = [score.reshape(width.blocks, -1).mean(0) / (score.mean() or 1) for width, score in zip(widths, scores, strict=True)]
    order = np.sort(np.concatenate(shares), kind="stable")
    limit = order[int(amount * len(order)) - 1] if int(amount * len(order)) else -np.inf
    made = []
    for width, share in zip(widths, shares, strict=True):
        low = np.flatnonzero(share <= limit)
        if len(low) == len(share):
            raise UserError(
                f"{width.name}: pruning {amount:.0%} of all channels leaves none of it; choose a smaller amount or "
                "scope = \"layer\""
            )
        made.append(sorted((low + block * len(share)).item(k) for block in range(width.blocks) for k in range(len(low))))
    return made


def close(chain: Chain, width: Width, units: Sequence[int]) -> None:
    """Mask all weights that make or read the units: the chain computes as if they were removed, and still trains."""
    maker, reader = chain.list[width.made], chain.list[width.read]
    columns = [channel for unit in units for channel in width.outputs[unit]]
    own, theirs = _mask_of(maker), _mask_of(reader)
    cig, cog = maker.shape[0] // maker.groups, maker.shape[1]
    for channel in columns:
        group = channel // cog
        own[group * cig : (group + 1) * cig, channel % cog] = False
    theirs[[channel for unit in units for channel in width.inputs[unit]]] = False
    maker.mask, reader.mask = own, theirs


def _mask_of(layer: ChainLayer) -> Tensor:
    return torch.ones(layer.shape, dtype=torch.bool) if layer.mask is None else layer.mask.clone()
