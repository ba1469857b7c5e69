"""Channels taken out of one layer: weights, mask, bias, slopes and batch normalisation get narrower together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from organza.compress.chain import ChainLayer
from organza.errors import UserError


def check_slices(layer: ChainLayer) -> None:
    """Raise `UserError` for a layer whose code was made for the channels that it has."""
    if layer.coder is not None:
        raise UserError(f"{layer.name}: channels cannot change once the layer has a code; prune and grow before quantize")


def take_outputs(layer: ChainLayer, channels: Sequence[int] | np.ndarray) -> None:
    """Let `layer` make these of its output channels, in this order; the same number of every group.

    A channel may be taken more than once.
    """
    chosen, cog = np.asarray(channels), layer.shape[1]
    columns = _by_group(layer, chosen, cog, "output") % cog

    def take(weights: Tensor) -> Tensor:
        rows = weights.reshape(layer.groups, -1, *weights.shape[1:])
        taken = [group[:, torch.from_numpy(own)] for group, own in zip(rows, columns, strict=True)]
        return torch.cat(taken)

    _replace_weights(layer, take)
    _take_channels(layer, torch.from_numpy(chosen))


def take_inputs(layer: ChainLayer, channels: Sequence[int] | np.ndarray) -> None:
    """Let `layer` read these of its input channels, in this order; the same number of every group."""
    chosen = np.asarray(channels)
    _by_group(layer, chosen, layer.shape[0] // layer.groups, "input")
    _replace_weights(layer, lambda weights: weights[torch.from_numpy(chosen)])


def take_groups(layer: ChainLayer, groups: Sequence[int] | np.ndarray) -> None:
    """Let `layer` keep these of its channel groups, inputs and outputs, in this order."""
    chosen = np.asarray(groups)
    cog = layer.shape[1]

    def take(weights: Tensor) -> Tensor:
        rows = weights.reshape(layer.groups, -1, *weights.shape[1:])
        return rows[torch.from_numpy(chosen)].flatten(0, 1)

    _replace_weights(layer, take)
    layer.groups = len(chosen)
    _take_channels(layer, torch.from_numpy((chosen[:, None] * cog + np.arange(cog)).reshape(-1)))


def _by_group(layer: ChainLayer, channels: np.ndarray, size: int, what: str) -> np.ndarray:
    """Channels as (groups, of a group)."""
    groups = np.arange(layer.groups)
    if len(channels) % layer.groups or not (channels.reshape(layer.groups, -1) // size == groups[:, None]).all():
        raise ValueError(f"{layer.name}: {what} channels must be taken group by group, the same number of each")
    return channels.reshape(layer.groups, -1)


def _replace_weights(layer: ChainLayer, take: Callable[[Tensor], Tensor]) -> None:
    check_slices(layer)
    assert layer.weight is not None
    layer.weight = nn.Parameter(take(layer.weight.detach()).clone(), requires_grad=layer.weight.requires_grad)
    if layer.mask is not None:
        layer.mask = take(layer.mask).clone()


@torch.no_grad()
def _take_channels(layer: ChainLayer, channels: Tensor) -> None:
    """What a layer has once for every output channel."""
    layer.slopes = nn.Parameter(layer.slopes[channels].clone(), requires_grad=layer.slopes.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[channels].clone(), requires_grad=layer.bias.requires_grad)
    if layer.norm is not None:
        made = nn.BatchNorm2d(len(channels), eps=layer.norm.eps, momentum=layer.norm.momentum)
        state = layer.norm.state_dict()
        made.load_state_dict({key: value[channels] if value.ndim else value for key, value in state.items()})
        layer.norm = made.train(layer.norm.training)
