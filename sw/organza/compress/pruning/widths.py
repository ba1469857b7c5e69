"""Which channels of a chain go together, from torch-pruning's dependency graph.

Between a layer that makes channels and the next that mixes them, layers that keep channels apart (depthwise, upsampling,
PixelShuffle, views) only pass them on. What must be removed together is a *unit*. torch-pruning (Fang et al., DepGraph,
CVPR 2023) finds it: the chain is shown to it as one operation for every layer, with pruners of its interface that slice
`ChainLayer`s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn

from organza.compress.chain import Chain, ChainLayer
from organza.compress.pruning.slicing import check_slices, take_groups, take_inputs, take_outputs


class _Passage(torch.autograd.Function):
    """One operation of the graph: `channels` channels of whatever it reads."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: int) -> Tensor:
        return x.new_zeros(len(x), channels, 1, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        raise NotImplementedError("the graph is traced, never differentiated")


class _Shell(nn.Module):
    """A layer as torch-pruning sees it. In a tuple the layer's own parts stay out of sight."""

    def __init__(self, layer: ChainLayer, number: int) -> None:
        super().__init__()
        self.held, self.number = (layer,), number

    @property
    def layer(self) -> ChainLayer:
        """The layer itself."""
        return self.held[0]

    def forward(self, x: Tensor) -> Tensor:
        """(N, co, 1, 1)"""
        made: Any = _Passage.apply(x, self.layer.co)
        return made


class _Mixing(_Shell):
    """A layer whose output channels read all input channels of a group."""


class _Apart(_Shell):
    """A layer of many groups with one channel on one side: a group comes and goes as a whole."""


class _MixingPruner(tp.BasePruningFunc):
    """torch-pruning's hooks for `_Mixing`; indices are channels."""

    def prune_out_channels(self, layer: Any, idxs: Sequence[int]) -> Any:
        take_outputs(layer.layer, np.delete(np.arange(layer.layer.co), idxs))
        return layer

    def prune_in_channels(self, layer: Any, idxs: Sequence[int]) -> Any:
        take_inputs(layer.layer, np.delete(np.arange(layer.layer.shape[0]), idxs))
        return layer

    def get_out_channels(self, layer: Any) -> int:
        return layer.layer.co

    def get_in_channels(self, layer: Any) -> int:
        return layer.layer.shape[0]


class _ApartPruner(tp.BasePruningFunc):
    """torch-pruning's hooks for `_Apart`; indices are groups, and one hook for both sides couples them."""

    def prune_out_channels(self, layer: Any, idxs: Sequence[int]) -> Any:
        take_groups(layer.layer, np.delete(np.arange(layer.layer.groups), idxs))
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Any) -> int:
        return layer.layer.groups

    get_in_channels = get_out_channels


@dataclass(frozen=True)
class Width:
    """Channels from the layer that makes them to the layer that mixes them.

    name : of the layer that makes them. made, read : numbers of the two layers; those between keep channels apart.
    outputs, inputs : of every unit, the output channels of `made` and the input channels of `read`. between : of every layer
    between, the groups of every unit. blocks : every this-many-th part of the units must keep the same number, because of
    channel groups.
    """

    name: str
    made: int
    read: int
    outputs: tuple[tuple[int, ...], ...]
    inputs: tuple[tuple[int, ...], ...]
    between: tuple[tuple[tuple[int, ...], ...], ...]
    blocks: int

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.outputs)


class Structure:
    """The dependency graph of a chain, valid until its channels change by other hands.

    Raises `UserError` where a layer has a code already, see `check_slices`.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        for layer in chain.list:
            check_slices(layer)
        self.shells = [(_Apart if _apart(layer) else _Mixing)(layer, number) for number, layer in enumerate(chain.list)]
        self.pruners = {_Mixing: _MixingPruner(), _Apart: _ApartPruner()}
        with torch.enable_grad():
            self.graph = tp.DependencyGraph().build_dependency(
                nn.Sequential(*self.shells), (torch.zeros(1, chain.list[0].shape[0], 1, 1, requires_grad=True),),
                customized_pruners=dict(self.pruners),
            )  # fmt: skip
        for node in self.graph.module2node.values():
            for dependency in node.dependencies:
                if isinstance(node.module, _Shell) and isinstance(dependency.target.module, _Shell):
                    dependency.index_mapping[0] = _translation(node.module, dependency.target.module)
        self.widths = [width for shell in self.shells[:-1] if (width := self._width(shell)) is not None]

    def _group(self, shell: _Shell, channels: Sequence[int]) -> Any:
        return self.graph.get_pruning_group(shell, self.pruners[type(shell)].prune_out_channels, list(channels))

    def _width(self, maker: _Shell) -> Width | None:
        """The width that begins with the results of `maker`; None if it has none or nothing of it can go."""
        if isinstance(maker, _Apart):
            return None
        found: dict[_Shell, list[tuple[int, ...]]] = {}
        for channel in range(maker.layer.co):
            if any(channel in unit for unit in found.get(maker, [])):
                continue
            for dependency, indices in self._group(maker, [channel]):
                found.setdefault(dependency.target.module, []).append(tuple(sorted(indices)))
        first, *between, last = sorted(found, key=lambda shell: shell.number)
        if isinstance(last, _Apart):  # as far as the results of the chain
            return None
        units, blocks = len(found[first]), lcm(first.layer.groups, last.layer.groups)
        if units % blocks:
            return None
        return Width(
            name=first.layer.name, made=first.number, read=last.number, outputs=tuple(found[first]),
            inputs=tuple(found[last]), between=tuple(tuple(found[shell]) for shell in between), blocks=blocks,
        )  # fmt: skip

    def remove(self, width: Width, units: Sequence[int]) -> None:
        """Take units out of the chain, by their numbers in `width`, which describes the chain as it was before."""
        if len(units):
            self._group(self.shells[width.made], [c for unit in units for c in width.outputs[unit]]).prune()


def _apart(layer: ChainLayer) -> bool:
    ci, cog = layer.shape[:2]
    return layer.passthrough or (layer.groups > 1 and 1 in (ci // layer.groups, cog))


def _translation(source: _Shell, target: _Shell) -> Callable[[list[Any]], list[Any]]:
    """Indices of one layer as those of its neighbour: channels, or groups of those that keep channels apart."""
    if target.number > source.number:
        wide, narrow = _outputs_per_index(source), _inputs_per_index(target)
    else:
        wide, narrow = _inputs_per_index(source), _outputs_per_index(target)

    def translate(indices: list[Any]) -> list[Any]:
        made = {}
        for index in indices:
            for channel in range(index.idx * wide, (index.idx + 1) * wide):
                made.setdefault(channel // narrow, index._replace(idx=channel // narrow))
        return list(made.values())

    return translate


def _outputs_per_index(shell: _Shell) -> int:
    return shell.layer.shape[1] if isinstance(shell, _Apart) else 1


def _inputs_per_index(shell: _Shell) -> int:
    return shell.layer.shape[0] // shell.layer.groups if isinstance(shell, _Apart) else 1


def widths(chain: Chain) -> list[Width]:
    """What of a chain can be pruned, in order; neither its inputs nor its results."""
    return Structure(chain).widths
