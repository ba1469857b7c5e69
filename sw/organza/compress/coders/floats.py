"""Floating-point weights as baselines: what is trained is rounded to the format, and no lanes compute it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code
from organza.compress.coders.coder import Coder
from organza.compress.gradients import straight_through


class FloatCoder(Coder):
    """w rounded to the nearest value of `dtype`; beyond its range to the largest one."""

    dtype: ClassVar[torch.dtype]
    chip = False
    granularities = ("tensor",)

    def __init__(self, shape: tuple[int, int, int, int], groups: int) -> None:
        super().__init__(shape, groups)

    def options(self) -> dict[str, Any]:
        return {}

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        assert weight is not None
        top = torch.finfo(self.dtype).max
        made = weight.detach().clamp(-top, top).to(self.dtype).to(weight.dtype)
        return straight_through(made, weight)

    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        """Raises ValueError: there are no floating-point lanes."""
        raise ValueError(f"{self.kind} has no lanes on the chip; it is a baseline for comparison only")

    def stored_bits(self, weight: Tensor | None, mask: Tensor | None) -> int:
        assert weight is not None
        return torch.finfo(self.dtype).bits * weight.numel()


class Float32Coder(FloatCoder):
    """Weights as they are."""

    kind, dtype = "float32", torch.float32


class Float16Coder(FloatCoder):
    """IEEE 754 binary16: 11 significant bits, magnitudes from 2^-24 to 65504."""

    kind, dtype = "float16", torch.float16


class BFloat16Coder(FloatCoder):
    """bfloat16: 8 significant bits, the range of float32."""

    kind, dtype = "bfloat16", torch.bfloat16
