"""What trains a weight code: fake-quantised weights with gradients straight through, and the code itself at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import Code
from organza.codes.spec import CodeSpec
from organza.float_layers import Coded


def straight_through(made: Tensor, source: Tensor) -> Tensor:
    """`made` forward, the gradient of `source` backward (Bengio et al., arXiv:1308.3432)."""
    return source + (made - source).detach()


class Coder(nn.Module):
    """Weights of one layer in a code while they are trained.

    A subclass is one method of one paper; `kind` names it in recipes. What `forward` makes is, in every bit that
    float32 has, `integers() * scales` of the code that `code` returns: what was trained is what the chip computes.

    In all methods `weight` is (ci, co // groups, ky, kx), masked already, or None where the coder has parameters of its own
    instead; `mask` is True for weights that are kept, None for all.

    Parameters
    ----------
    shape : of the weights. groups : channel groups. Subclasses take the options of a recipe's `quantize` table by keyword and
        raise TypeError / ValueError for wrong ones.
    """

    kind: ClassVar[str]
    owns: ClassVar[bool] = False  # parameters of its own instead of the layer's weights

    def __init__(self, shape: tuple[int, int, int, int], groups: int) -> None:
        super().__init__()
        self.shape: tuple[int, int, int, int] = (shape[0], shape[1], shape[2], shape[3])
        self.groups = groups

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
        """The code, and its scales (co,)."""

    def spec(self) -> CodeSpec:
        """What a user would type for this code; tells the quantiser what the layer reads."""
        return CodeSpec()

    @classmethod
    def for_network(cls, weights: Sequence[Tensor], options: dict[str, Any]) -> dict[str, Any]:
        """Options that make one code for all layers of a network, for granularity "network"; `options` are the recipe's.

        Raises ValueError for a method that has no such thing.
        """
        raise ValueError(f"{cls.kind} has no granularity 'network'")

    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:  # noqa: B027 - most coders have nothing to fit
        """Estimate centroids, levels or thresholds again; called before the first step, then every few steps."""

    def penalty(self, weight: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """What the method adds to the loss, or None."""
        return None

    @torch.no_grad()
    def coded(self, weight: Tensor | None, mask: Tensor | None) -> Coded:
        """The code for the quantiser, which wants one scale for each output channel."""
        code, scales = self.code(weight, mask)
        return Coded(code=code, scales=np.broadcast_to(scales, (self.co,)).astype(np.float64), spec=self.spec())

    def by_channel(self, weight: Tensor) -> Tensor:
        """Weights as (co, weights of the channel); `from_channels` is the inverse."""
        ci, cog, ky, kx = self.shape
        grouped = weight.reshape(self.groups, ci // self.groups, cog, ky, kx)
        return grouped.transpose(1, 2).reshape(self.co, -1)

    def from_channels(self, rows: Tensor) -> Tensor:
        """Inverse of `by_channel`."""
        ci, cog, ky, kx = self.shape
        grouped = rows.reshape(self.groups, cog, ci // self.groups, ky, kx)
        return grouped.transpose(1, 2).reshape(self.shape)
