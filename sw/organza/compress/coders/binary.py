"""Binary weights ±1 times a scale (ApGAN)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from organza.codes import Code
from organza.codes.spec import CodeSpec
from organza.compress.coders.rounding import MeasuringCoder, signs, store_signs


class BinaryCoder(MeasuringCoder):
    """w ≈ sign(w) · mean|w| (Roohi et al., ApGAN, IEEE TC 2020); no gradient beyond |w| = 1.

    Which layers to take, and signs as activations (W1A1), is in `organza.compress.signs`. Binary weights have no zero, so with
    a mask they are ternary ones.

    Parameters
    ----------
    granularity : "tensor" is the paper's; "channel", "network".
    """

    kind = "binary"

    def options(self) -> dict[str, Any]:
        return {"granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("binary")

    def measure(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        return self.means(weight.abs(), mask)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return signs(weight, mask, self.measured(weight, mask))

    def source(self, weight: Tensor) -> Tensor:
        return weight.clamp(-1, 1)

    def store(self, integers: np.ndarray) -> Code:
        return store_signs(integers)
