"""Activations rounded in training as the chip rounds them, with gradients straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from organza.formats import Fixed, Format, Sign


class ActivationGrid(nn.Module):
    """Values of one tensor on the integers of a `Fixed` or `Sign` format.

    The scale of `Fixed` follows the largest magnitude of a batch (exponential mean, `momentum`) while training, as Jacob et
    al. (CVPR 2018) do; a sign's follows the mean magnitude. Gradients pass where nothing clips; for signs where |v| ≤ 1
    scale.

    Parameters
    ----------
    bits : 1 for signs, 2…16 for integers. signed : of integers.
    """

    peak: Tensor

    def __init__(self, bits: int, signed: bool, momentum: float = 0.01) -> None:
        super().__init__()
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise TypeError(f"activation bits must be an integer, not {bits!r}")
        if not 1 <= bits <= 16:
            raise ValueError(f"activation bits must be between 1 and 16, not {bits}")
        self.bits, self.signed, self.momentum = bits, signed, momentum
        self.register_buffer("peak", torch.zeros(()))

    @property
    def format(self) -> Format:
        """The format that the chip gets."""
        scale = float(self.peak) or 1.0
        if self.bits == 1:
            return Sign(scale)
        return Fixed(self.bits, self.signed, scale / Fixed(self.bits, self.signed, 1.0).high)

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor, for JSON."""
        return {"bits": self.bits, "signed": self.signed, "momentum": self.momentum}

    def forward(self, v: Tensor) -> Tensor:
        """`v` on the grid."""
        if self.training:
            seen = v.detach().abs().mean() if self.bits == 1 else v.detach().abs().max()
            self.peak.copy_(seen if self.peak == 0 else self.peak.lerp(seen, self.momentum))
        form = self.format
        if isinstance(form, Sign):
            made = torch.where(v < 0, -form.scale, form.scale)
            passed = v.clamp(-form.scale, form.scale)
        else:
            assert isinstance(form, Fixed)
            made = (v / form.scale + 0.5).floor().clamp(form.low, form.high) * form.scale
            passed = v.clamp(form.low * form.scale, form.high * form.scale)
        return passed + (made - passed).detach()
