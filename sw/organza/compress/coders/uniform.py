"""Uniform symmetric quantisation of weights to k bits: min-max scales (a baseline of QGAN, GAN slimming, QMGAN)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from organza.codes import Code, Linear
from organza.codes.spec import CodeSpec
from organza.compress.activations import ActivationGrid, Grid
from organza.compress.coders.checks import check_integer
from organza.compress.coders.rounding import MeasuringCoder, signs, steps, store_signs


class UniformCoder(MeasuringCoder):
    """w ≈ round(w / s) · s with s = max|w| / (2^(k−1) − 1), which follows the weights at every step.

    Parameters
    ----------
    bits : 2…16. granularity : "channel", "tensor" or "network".
    """

    kind = "uniform"
    default = "channel"
    least: ClassVar[int] = 2

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 8, granularity: str | None = None
    ) -> None:
        super().__init__(shape, groups, granularity=granularity)
        self.bits = check_integer(f"{self.kind} bits", bits, self.least, 16)

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("linear", {"bits": self.bits})

    @property
    def top(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        scales = steps(self.measured(weight, mask) / self.top)
        return (weight / self.spread(scales)).round().clamp(-self.top, self.top), scales

    def store(self, integers: np.ndarray) -> Code:
        return Linear(integers, self.bits)


class SlimmingCoder(UniformCoder):
    """GAN slimming's (Wang et al., ECCV 2020, as in the authors' code): weights by tensor, activations on [0, 4].

    The code has 257 steps of 4/256; here are 256 of 4/255, what 8 bits hold. Signed inputs, which the authors leave as
    they are, get ±4.
    """

    kind = "slimming"
    default = "tensor"

    def grid(self, bits: int, signed: bool) -> Grid:
        return ActivationGrid(bits, signed, reach=4.0)


class QmganCoder(UniformCoder):
    """QMGAN's (Deng et al., 2019; best reading of the survey's paragraph): one scale for the network, 1 bit upwards.

    k ≥ 2 as `UniformCoder`; k = 1 is sign(w) · mean|w|.
    """

    kind = "qmgan"
    default = "network"
    least = 1

    def measure(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        return self.means(weight.abs(), mask) if self.bits == 1 else super().measure(weight, mask)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return signs(weight, mask, self.measured(weight, mask)) if self.bits == 1 else super().integers(weight, mask)

    def spec(self) -> CodeSpec:
        return CodeSpec("binary") if self.bits == 1 else super().spec()

    def store(self, integers: np.ndarray) -> Code:
        return store_signs(integers) if self.bits == 1 else super().store(integers)
