"""What all factorisations share: a layer as several linear ones, of which the last takes normalisation and activation along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from organza.compress.chain import ChainLayer
from organza.errors import UserError
from organza.float_layers import FloatLayer
from organza.geometry import Axis

# Rounding between factors is what costs quality: 8 bits there lose 9 dB of 40, 10 lose 2, 12 as good as nothing.
LEAST_BITS, DEFAULT_BITS = 10, 12

Rank = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One linear layer of several: weights (ci, cog, ky, kx) in `groups` groups on these axes; `suffix` of its name."""

    suffix: str
    ci: int
    cog: int
    y: Axis
    x: Axis
    groups: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights."""
        return self.ci, self.cog, self.y.kernel, self.x.kernel


def still(size: int) -> Axis:
    """The axis along which a layer does nothing."""
    return Axis(size=size, kernel=1)


class Factors(ABC):
    """The ways to factorise one layer by one method.

    Parameters
    ----------
    layer : stays as it is. bits : of the tensors between factors, 10…16.

    Raises `UserError` for a layer that cannot be factorised, ValueError for other bits.
    """

    method: ClassVar[str]

    def __init__(self, layer: ChainLayer, bits: int = DEFAULT_BITS) -> None:
        if not LEAST_BITS <= bits <= 16:
            raise ValueError(f"bits between factors must be between {LEAST_BITS} and 16, not {bits}")
        if layer.passthrough:
            raise UserError(f"{layer.name}: only moves values, there is nothing to factorise")
        if layer.coder is not None or layer.weight is None:
            raise UserError(f"{layer.name}: has a code already; factorise before quantize")
        self.layer, self.bits = layer, bits
        ci, cog, ky, kx = layer.shape
        self.groups, self.cig, self.cog = layer.groups, ci // layer.groups, cog
        weight = layer.effective_weight().detach().double().numpy()
        self.weight = weight.reshape(self.groups, self.cig, cog, ky, kx)

    @cached_property
    @abstractmethod
    def ranks(self) -> Sequence[Rank]:
        """All that are worth a try, smallest first."""

    def check(self, rank: Rank) -> None:
        """Raise `UserError` for ranks that the layer does not have."""
        most = self.ranks[-1]
        if len(rank) != len(most) or not all(1 <= one <= limit for one, limit in zip(rank, most, strict=True)):
            limits = " and ".join(f"1…{limit}" for limit in most)
            raise UserError(f"{self.layer.name}: rank must be {limits}, not {', '.join(map(str, rank))}")

    @abstractmethod
    def error(self, rank: Rank) -> float:
        """Squared error of the weights at `rank`, relative to their square."""

    @abstractmethod
    def parts(self, rank: Rank) -> list[Part]:
        """The layers at `rank`."""

    @abstractmethod
    def weights(self, rank: Rank) -> list[np.ndarray]:
        """Weights of every part, float64."""

    def layers(self, rank: Rank) -> list[ChainLayer]:
        """The layers, to take the place of the one that was factorised."""
        made = []
        parts = self.parts(rank)
        for part, weights in zip(parts, self.weights(rank), strict=True):
            weights = np.ascontiguousarray(weights)
            last = len(made) == len(parts) - 1
            new = deepcopy(self.layer) if last else ChainLayer(self._float(part, weights))
            new.name, new.y, new.x, new.groups, new.mask = self._name(part), part.y, part.x, part.groups, None
            new.weight = nn.Parameter(torch.from_numpy(weights).float())
            if not last:
                new.bits = self.bits
            made.append(new)
        return made

    def sketch(self, rank: Rank) -> list[FloatLayer]:
        """Layers of the same shapes with weights 1, for what they cost."""
        return [self._float(part, np.broadcast_to(1.0, part.shape)) for part in self.parts(rank)]

    def _name(self, part: Part) -> str:
        return f"{self.layer.name}:{part.suffix}"

    def _float(self, part: Part, weights: np.ndarray) -> FloatLayer:
        return FloatLayer(
            name=self._name(part), weights=weights, bias=np.zeros(part.cog * part.groups), y=part.y, x=part.x,
            groups=part.groups, bits=self.bits,
        )  # fmt: skip
