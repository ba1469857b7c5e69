"""What coders that round the layer's weights at every step have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from organza.codes import Binary, Code, Ternary
from organza.compress.coders.coder import LEAST_SCALE, Coder
from organza.compress.gradients import straight_through


class RoundingCoder(Coder):
    """Rounded weights; the gradient goes straight through to the weights."""

    @abstractmethod
    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Integers like `weight`, as floats, and scales (co,) or (1,), positive."""

    @abstractmethod
    def store(self, integers: np.ndarray) -> Code:
        """The code of int64 integers."""

    def source(self, weight: Tensor) -> Tensor:
        """What the gradient passes on its way to the weights."""
        return weight

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        assert weight is not None
        with torch.no_grad():
            integers, scales = self.integers(weight, mask)
            made = integers * self.spread(scales)
        return straight_through(made, self.source(weight))

    @torch.no_grad()
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        assert weight is not None
        integers, scales = self.integers(weight, mask)
        return self.store(integers.long().numpy()), scales.double().numpy()


class MeasuringCoder(RoundingCoder):
    """Scales that follow one number of the weights at every step: the largest, or the mean.

    With granularity "network" that number is measured by `fit` and stays until the next one.
    """

    network: Tensor
    default: ClassVar[str] = "tensor"

    def __init__(self, shape: tuple[int, int, int, int], groups: int, *, granularity: str | None = None) -> None:
        super().__init__(shape, groups, granularity=self.default if granularity is None else granularity)
        if self.granularity == "network":
            self.register_buffer("network", torch.zeros(1))

    def measure(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        """The number, (co,) or (1,) as the granularity is; the largest magnitude."""
        return self.reduce(weight.abs(), "amax")

    def measured(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        """The number that counts."""
        return self.network if self.granularity == "network" else self.measure(weight, mask)

    @torch.no_grad()
    def fit(self, weights: list[Tensor], masks: list[Tensor | None]) -> None:
        self.network.copy_(self.measure(kept(weights, masks), None))

    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        if self.granularity == "network" and weight is not None:
            self.fit([weight], [mask])


def kept(weights: list[Tensor], masks: list[Tensor | None]) -> Tensor:
    """All weights that are not pruned, in a row; one 0 if there are none."""
    parts = [(w if mask is None else w[mask]).reshape(-1) for w, mask in zip(weights, masks, strict=True)]
    made = torch.cat(parts)
    return made if len(made) else torch.zeros(1)


def steps(sizes: Tensor) -> Tensor:
    """`sizes` as scales, which can be divided by."""
    return sizes.clamp_min(LEAST_SCALE)


def signs(weight: Tensor, mask: Tensor | None, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """±1 where a weight is kept, and `sizes` as scales; 0 counts as positive."""
    made = torch.where(weight < 0, -1.0, 1.0)
    return made if mask is None else made * mask, steps(sizes)


def store_signs(integers: np.ndarray) -> Code:
    """Weights of -1, 0 and 1: one bit each if there is no 0."""
    return Binary(integers) if integers.all() else Ternary(integers)
