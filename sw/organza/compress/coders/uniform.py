"""Uniform symmetric quantisation of weights to k bits, after or during training (GAN slimming, QMGAN)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code, Linear
from organza.codes.spec import CodeSpec
from organza.compress.coders.coder import Coder, straight_through

GRANULARITIES = ("channel", "tensor")


class UniformCoder(Coder):
    """w ≈ round(w / s) · s with s = max|w| / (2^(k−1) − 1), of an output channel or of the tensor.

    Min-max scales as in Wang et al. (GAN Slimming, ECCV 2020); the scale follows the weights at every step.

    Parameters
    ----------
    bits : 2…16. granularity : "channel" or "tensor". scale : one given scale instead, for a whole network.
    """

    kind = "uniform"

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 8, granularity: str = "channel",
        scale: float | None = None,
    ) -> None:
        super().__init__(shape, groups)
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise TypeError(f"uniform bits must be an integer, not {bits!r}")
        if not 2 <= bits <= 16:
            raise ValueError(f"uniform bits must be between 2 and 16, not {bits}")
        if granularity not in GRANULARITIES:
            raise ValueError(f"uniform granularity must be one of {', '.join(GRANULARITIES)}, not {granularity!r}")
        self.bits, self.granularity, self.scale = bits, granularity, scale

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "granularity": self.granularity, "scale": self.scale}

    def spec(self) -> CodeSpec:
        return CodeSpec("linear", {"bits": self.bits})

    @classmethod
    def for_network(cls, weights: Sequence[Tensor], options: dict[str, Any]) -> dict[str, Any]:
        top = (1 << (options.get("bits", 8) - 1)) - 1
        return {**options, "scale": max(float(weight.abs().max()) for weight in weights) / top or 1.0}

    @property
    def top(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1

    def scales(self, weight: Tensor) -> Tensor:
        """(co, 1)"""
        rows = self.by_channel(weight.detach()).abs()
        if self.scale is not None:
            return torch.full((self.co, 1), self.scale)
        peak = rows.amax(1, keepdim=True)
        if self.granularity == "tensor":
            peak = peak.max().expand_as(peak)
        return torch.where(peak > 0, peak, 1.0) / self.top

    def integers(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Integers (co, weights of the channel) and scales."""
        scales = self.scales(weight)
        return (self.by_channel(weight.detach()) / scales).round().clamp(-self.top, self.top), scales

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        assert weight is not None
        integers, scales = self.integers(weight)
        return straight_through(self.from_channels(integers * scales), weight)

    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        assert weight is not None
        integers, scales = self.integers(weight)
        return Linear(self.from_channels(integers).long().numpy(), self.bits), scales[:, 0].double().numpy()
