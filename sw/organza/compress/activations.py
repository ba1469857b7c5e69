"""Activations rounded in training as the chip rounds them, with gradients straight through."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from organza.compress.gradients import straight_through
from organza.formats import Fixed, Format, Sign


class Grid(nn.Module):
    """Values of one tensor on the integers of a format."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def format(self) -> Format:
        """The format that the chip gets."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor, for JSON."""

    @abstractmethod
    def forward(self, v: Tensor) -> Tensor:
        """`v` on the grid."""


class ActivationGrid(Grid):
    """Values on the integers of a `Fixed` or `Sign` format.

    The scale of `Fixed` follows the largest magnitude of a batch (exponential mean, `momentum`) while training, as
    Jacob et al. (CVPR 2018) do; a sign's follows the mean magnitude. Gradients pass where nothing clips; for signs
    where |v| ≤ 1 scale.

    Parameters
    ----------
    bits : 1 for signs, 2…16 for integers. signed : of integers. reach : a largest magnitude that does not follow.
    """

    kind = "fixed"
    peak: Tensor

    def __init__(self, bits: int, signed: bool, momentum: float = 0.01, reach: float | None = None) -> None:
        super().__init__()
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise TypeError(f"activation bits must be an integer, not {bits!r}")
        if not 1 <= bits <= 16:
            raise ValueError(f"activation bits must be between 1 and 16, not {bits}")
        if reach is not None and not 0 < reach < 1e9:
            raise ValueError(f"activation reach must be positive, not {reach}")
        self.bits, self.signed, self.momentum, self.reach = bits, signed, momentum, reach
        self.register_buffer("peak", torch.tensor(reach or 0.0))

    @property
    def format(self) -> Format:
        scale = float(self.peak) or 1.0
        if self.bits == 1:
            return Sign(scale)
        return Fixed(self.bits, self.signed, scale / Fixed(self.bits, self.signed, 1.0).high)

    def settings(self) -> dict[str, Any]:
        return {"bits": self.bits, "signed": self.signed, "momentum": self.momentum, "reach": self.reach}

    def forward(self, v: Tensor) -> Tensor:
        if self.training and self.reach is None:
            seen = v.detach().abs().mean() if self.bits == 1 else v.detach().abs().max()
            self.peak.copy_(seen if self.peak == 0 else self.peak.lerp(seen, self.momentum))
        form = self.format
        if isinstance(form, Sign):
            return straight_through(torch.where(v < 0, -form.scale, form.scale), v.clamp(-form.scale, form.scale))
        assert isinstance(form, Fixed)
        made = (v / form.scale + 0.5).floor().clamp(form.low, form.high) * form.scale
        return straight_through(made, v.clamp(form.low * form.scale, form.high * form.scale))
