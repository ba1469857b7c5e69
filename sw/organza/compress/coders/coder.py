"""What trains a weight code: coded weights with gradients straight through, and the code itself at the end."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import Code
from organza.codes.spec import CodeSpec
from organza.compress.activations import ActivationGrid, Grid
from organza.compress.coders.checks import check_choice
from organza.float_layers import Coded

LEAST_SCALE = 2.0**-100  # what is smaller is not divided by


class Coder(nn.Module):
    """Weights of one layer in a code while they are trained.

    A subclass is one method of one paper; `kind` names it in recipes. What `forward` makes is, in every bit that
    float32 has, `integers() * scales` of the code that `code` returns: what was trained is what the chip computes.
    Methods whose weights are in a code only at the end of training keep that in evaluation, and always after `finish`.

    In all methods `weight` is (ci, co // groups, ky, kx), masked already, or None where the coder has parameters of its
    own instead; `mask` is True for weights that are kept, None for all. Integers are 0 where it is False.

    Parameters
    ----------
    shape : of the weights. groups : channel groups. Subclasses take the options of a recipe's `quantize` table by
        keyword and raise TypeError / ValueError for wrong ones. granularity : one of `granularities`: what has its own
        levels, an output channel, the tensor, or all layers of a chain that have the same options (`Chain.refit` fits
        them together).
    """

    kind: ClassVar[str]
    owns: ClassVar[bool] = False  # parameters of its own instead of the layer's weights
    prunes: ClassVar[bool] = True  # takes a mask
    granularities: ClassVar[tuple[str, ...]] = ("channel", "tensor", "network")
    chip: ClassVar[bool] = True  # False for a baseline that no lanes compute

    def __init__(self, shape: tuple[int, int, int, int], groups: int, *, granularity: str = "tensor") -> None:
        super().__init__()
        self.shape: tuple[int, int, int, int] = (shape[0], shape[1], shape[2], shape[3])
        self.groups = groups
        self.granularity = check_choice(f"{self.kind} granularity", granularity, self.granularities)

    @property
    def co(self) -> int:
        """Output channels."""
        return self.shape[1] * self.groups

    @abstractmethod
    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        """Coded weights, with gradients for what is trained."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the constructor, for JSON; parameters and buffers are saved besides."""

    @abstractmethod
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        """The code, and its scales (co,) or (1,), not zero."""

    def stored_bits(self, weight: Tensor | None, mask: Tensor | None) -> int:
        """Everything that must be kept for the weights."""
        return self.code(weight, mask)[0].stored_bits

    def spec(self) -> CodeSpec:
        """What a user would type for this code; tells the quantiser what the layer reads."""
        return CodeSpec()

    def grid(self, bits: int, signed: bool) -> Grid:
        """Where the method rounds the layer's inputs to; the layer in front gets it."""
        return ActivationGrid(bits, signed)

    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:  # noqa: B027 - many follow the weights
        """Estimate centroids, levels or thresholds again; called before the first step, then every few steps."""

    def fit(self, weights: list[Tensor], masks: list[Tensor | None]) -> None:
        """`refit` of granularity "network": one estimate for the weights of all layers."""
        raise NotImplementedError(f"{self.kind} has no levels of a network")

    @property
    def shared(self) -> str | None:
        """Coders of a chain with the same key are fitted together; None: this one by itself."""
        return json.dumps([self.kind, self.options()], sort_keys=True) if self.granularity == "network" else None

    def finish(self, weight: Tensor | None, mask: Tensor | None) -> None:  # noqa: B027 - most do nothing
        """The end of training, before normalisation is measured again."""

    def penalty(self, weight: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """What the method adds to the loss, or None."""
        return None

    @torch.no_grad()
    def coded(self, weight: Tensor | None, mask: Tensor | None) -> Coded:
        """The code for the quantiser, which wants one scale for each output channel."""
        code, scales = self.code(weight, mask)
        return Coded(code=code, scales=np.broadcast_to(scales, (self.co,)).astype(np.float64), spec=self.spec())

    def spread(self, values: Tensor) -> Tensor:
        """Values of output channels (co,), or (1,) for all, in a shape that multiplies weights."""
        if len(values) == 1:
            return values
        rows = values.reshape(self.groups, 1, self.shape[1])
        if self.groups > 1:
            rows = rows.expand(-1, self.shape[0] // self.groups, -1)
        return rows.reshape(-1, self.shape[1], 1, 1)

    def by_channel(self, values: Tensor) -> Tensor:
        """Values like the weights as (co, weights of the channel)."""
        ci, cog, ky, kx = self.shape
        return values.reshape(self.groups, ci // self.groups, cog, ky, kx).transpose(1, 2).reshape(self.co, -1)

    def reduce(self, values: Tensor, by: str) -> Tensor:
        """The "sum" or largest ("amax") of values like the weights: of every output channel (co,) or of all (1,).

        Only with granularity "channel" must they have the layer's shape.
        """
        if self.granularity != "channel":
            return getattr(values, "sum" if by == "sum" else "max")().reshape(1)
        rows = getattr(values, by)((2, 3)).reshape(self.groups, -1, self.shape[1])
        return getattr(rows, by)(1).reshape(-1)

    def sizes(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        """Root mean squares of the output channels over that of the tensor, (co,); 1 for none.

        What weights are divided by to be of one size, while what is trained keeps the size of the weights: optimisers
        step alike.
        """
        square = weight.square() if mask is None else weight.square() * mask
        amount = float(weight.numel()) if mask is None else mask.sum().clamp_min(1).to(weight)
        kept = weight.numel() / self.co if mask is None else self.by_channel(mask.to(weight)).sum(1).clamp_min(1)
        size = (self.by_channel(square).sum(1) / kept).sqrt() / (square.sum() / amount).sqrt().clamp_min(LEAST_SCALE)
        return torch.where(size > 0, size, 1.0)

    def means(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """Means of kept `values` (0 where the mask is False), as `reduce`; 0 for none."""
        total = self.reduce(values, "sum")
        count = values.numel() // len(total) if mask is None else self.reduce(mask.to(values), "sum").clamp_min(1)
        return total / count
