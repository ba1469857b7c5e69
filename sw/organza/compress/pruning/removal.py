"""Channels that are removed for good, and what they still add to the next layer while they are constant.

A channel whose weights are all pruned is a constant, the activation of its bias. Where the layer that reads it has every tap at
every position (and only there, see `organza.geometry`), its part of the sums is a constant too, which moves into bias or
normalisation: the function stays exactly what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from organza.compress.chain import Chain, ChainLayer, convolve
from organza.compress.pruning.widths import Structure, Width

# Relative to the largest sum: what float32 leaves of equal sums.
_EQUAL = 1e-5


@torch.no_grad()
def remove_units(structure: Structure, width: Width, units: Sequence[int]) -> bool:
    """Remove units, constants first moved on where that is exact; whether the chain computes the same as before."""
    reader = structure.chain.list[width.read]
    parts = [_constant_part(structure.chain, width, unit) for unit in units]
    for part in parts:
        if part is not None and bool(part.any()):
            _shift(reader, part)
    structure.remove(width, units)
    return all(part is not None for part in parts)


@torch.no_grad()
def remove_dead(chain: Chain) -> int:
    """Remove every unit that can go without any change of the function; how many.

    Layers with channel groups lose the same number of every group, and a layer keeps one unit of each at least.
    """
    structure, removed = Structure(chain), 0
    for width in structure.widths:
        exact = [unit for unit in range(width.units) if _constant_part(chain, width, unit) is not None]
        size = width.units // width.blocks
        blocks = [[unit for unit in exact if unit // size == block] for block in range(width.blocks)]
        count = min(min(map(len, blocks)), size - 1)
        units = [unit for block in blocks for unit in block[:count]]
        remove_units(structure, width, units)
        removed += len(units)
    for layer in chain.list:
        if layer.mask is not None and bool(layer.mask.all()):
            layer.mask = None
    return removed


def _constant_part(chain: Chain, width: Width, unit: int) -> Tensor | None:
    """What a unit adds to every sum of the layer that reads it, (co,); None if that is not the same everywhere."""
    reader, maker = chain.list[width.read], chain.list[width.made]
    weight, inputs = reader.effective_weight(), list(width.inputs[unit])
    if not bool(weight[inputs].any()):
        return torch.zeros(reader.co)
    made = maker.effective_weight().reshape(maker.groups, -1, *maker.shape[1:]).transpose(1, 2).flatten(0, 1)
    if bool(made[list(width.outputs[unit])].any()):
        return None
    value = _finished(maker, torch.zeros(1, maker.co, maker.y.output, maker.x.output))
    for layer in chain.list[width.made + 1 : width.read]:
        value = _finished(layer, convolve(value, layer.effective_weight(), layer.y, layer.x, layer.groups))
    only = torch.zeros_like(value)
    only[:, inputs] = value[:, inputs]
    sums = convolve(only, weight, reader.y, reader.x, reader.groups)[0]
    low, high = sums.amin((1, 2)), sums.amax((1, 2))
    return (low + high) / 2 if bool((high - low <= _EQUAL * sums.abs().max()).all()) else None


def _finished(layer: ChainLayer, sums: Tensor) -> Tensor:
    """The results that belong to sums of products, in evaluation."""
    training = layer.training
    layer.eval()
    made = layer.finish(sums)
    layer.train(training)
    return made


def _shift(layer: ChainLayer, part: Tensor) -> None:
    """Add `part` (co,) to the sums of a layer."""
    if layer.norm is not None:
        assert layer.norm.running_mean is not None
        layer.norm.running_mean.sub_(part)  # a batch's own mean loses the constant by itself
    elif layer.bias is None:
        layer.bias = nn.Parameter(part.clone())
    else:
        layer.bias.add_(part)
