"""Quantisation-aware training of Jacob et al.: ranges are running means, for weights and activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code, Linear
from organza.codes.spec import CodeSpec
from organza.compress.activations import ActivationGrid, Grid
from organza.compress.coders.checks import check_integer, check_number
from organza.compress.coders.rounding import RoundingCoder, steps


class JacobCoder(RoundingCoder):
    """Fake quantisation, ranges are exponential means (Jacob et al., CVPR 2018), weights within ±(2^(k−1) − 1).

    Weights have zero point 0, the choice of the paper's successors, so Z only belongs to activations, whose grids have
    0 too: unsigned after ReLU, symmetric otherwise. Scales of channels make the folding of normalisation exact, which
    the paper imitates with batch statistics. No gradient beyond the range.

    Parameters
    ----------
    bits : 2…16. granularity : "channel" or "tensor". momentum : share of a step's range in the mean, 1 follows the
        weights.
    """

    kind = "jacob"
    granularities = ("channel", "tensor")
    peak: Tensor

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 8, granularity: str = "channel",
        momentum: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups, granularity=granularity)
        self.bits = check_integer("jacob bits", bits, 2, 16)
        self.momentum = check_number("jacob momentum", momentum, 1e-6, 1)
        self.register_buffer("peak", torch.zeros(self.co if granularity == "channel" else 1))

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "granularity": self.granularity, "momentum": self.momentum}

    def spec(self) -> CodeSpec:
        return CodeSpec("linear", {"bits": self.bits})

    def grid(self, bits: int, signed: bool) -> Grid:
        return ActivationGrid(bits, signed, momentum=0.01)

    @property
    def top(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        """Start with the range as it is."""
        if weight is not None and not self.peak.any():
            self.peak.copy_(self.reduce(weight.abs(), "amax"))

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        if self.training and weight is not None:
            self.peak.lerp_(self.reduce(weight.detach().abs(), "amax"), self.momentum)
        return super().forward(weight, mask)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        scales = steps(self.peak / self.top)
        return (weight / self.spread(scales)).round().clamp(-self.top, self.top), scales

    def source(self, weight: Tensor) -> Tensor:
        reach = self.spread(self.peak)
        return weight.clamp(-reach, reach)

    def store(self, integers: np.ndarray) -> Code:
        return Linear(integers, self.bits)
