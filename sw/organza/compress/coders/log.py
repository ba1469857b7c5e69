"""Logarithmic quantisation: powers of two below the largest weight, a baseline of QGAN."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code, PowerOfTwo
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_integer
from organza.compress.coders.rounding import MeasuringCoder, signs, steps, store_signs


class LogCoder(MeasuringCoder):
    """w ≈ ± max|w| · 2^−e with the nearest exponent e, 0 below the smallest power (Miyashita et al., arXiv:1603.01025).

    Parameters
    ----------
    bits : 1…5; one bit is sign(w) · max|w|. granularity : "tensor", "channel" or "network".
    """

    kind = "log"

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 4, granularity: str | None = None
    ) -> None:
        super().__init__(shape, groups, granularity=granularity)
        self.bits = check_integer("log bits", bits, 1, 5)

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("binary") if self.bits == 1 else CodeSpec("power", {"bits": self.bits})

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        peaks = self.measured(weight, mask)
        if self.bits == 1:
            return signs(weight, mask, peaks)
        largest = (1 << (self.bits - 1)) - 2
        scales = steps(peaks / 2.0**largest)
        exponents = (weight.abs() / self.spread(scales)).log2().round()
        powers = torch.where(exponents < 0, 0.0, exponents.clamp(0, largest).exp2())
        return powers * weight.sign(), scales

    def store(self, integers: np.ndarray) -> Code:
        return store_signs(integers) if self.bits == 1 else PowerOfTwo(integers, self.bits)
