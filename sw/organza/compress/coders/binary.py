"""Binary weights ±1 times a scale (ApGAN), with activations of 8 bits or of one."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from organza.codes import Code
from organza.codes.spec import CodeSpec
from organza.compress.coders.rounding import MeasuringCoder, signs, store_signs


class BinaryCoder(MeasuringCoder):
    """w ≈ sign(w) · mean|w| (Roohi et al., ApGAN, IEEE TC 2020); no gradient beyond |w| = 1.

    Which layers to take, and signs as activations, is in `organza.compress.signs`. Binary weights have no zero, so with a
    mask they are ternary ones.

    Parameters
    ----------
    activations : bits of the layer's input, 8 (W1A8) or 1 (W1A1). granularity : "tensor" is the paper's; "channel", "network".
    """

    kind = "binary"

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, activations: int = 8, granularity: str | None = None
    ) -> None:
        super().__init__(shape, groups, granularity=granularity)
        if isinstance(activations, bool) or not isinstance(activations, int):
            raise TypeError(f"binary activations must be an integer, not {activations!r}")
        if activations not in (1, 8):
            raise ValueError(f"binary activations must have 1 or 8 bits, not {activations}")
        self.activations = activations

    def options(self) -> dict[str, Any]:
        return {"activations": self.activations, "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("binary", {"activations": self.activations})

    def measure(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        return self.means(weight.abs(), mask)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return signs(weight, mask, self.measured(weight, mask))

    def source(self, weight: Tensor) -> Tensor:
        return weight.clamp(-1, 1)

    def store(self, integers: np.ndarray) -> Code:
        return store_signs(integers)
