"""Binary weights ±1 times a scale (ApGAN)."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from organza.adders import Adder
from organza.codes import Binary, Code
from organza.codes.binary import TI
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_integer
from organza.compress.coders.rounding import MeasuringCoder, signs, store_signs


class BinaryCoder(MeasuringCoder):
    """w ≈ sign(w) · mean|w| (Roohi et al., ApGAN, IEEE TC 2020); no gradient beyond |w| = 1.

    Which layers to take, and signs as activations (W1A1), is in `organza.compress.signs`. Binary weights have no zero,
    so with a mask they are ternary ones. Training adds exactly; approximate adders are the chip's.

    Parameters
    ----------
    adder : "exact", "loaN" or "notcarryN" (`organza.adders`). ti : lanes of an approximate tree, fewer if a group has
        fewer.
    granularity : "tensor" is the paper's; "channel", "network".
    """

    kind = "binary"

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, adder: str = "exact", ti: int = TI,
        granularity: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups, granularity=granularity)
        self.adder = Adder.parse(adder)
        self.ti = check_integer("binary ti", ti, 1, 1 << 12)

    def options(self) -> dict[str, Any]:
        return {"adder": str(self.adder), "ti": self.ti, "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        adder = {} if self.adder.exact else {self.adder.kind: self.adder.low, "ti": self.ti}
        return CodeSpec("binary", adder)

    def measure(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        return self.means(weight.abs(), mask)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        return signs(weight, mask, self.measured(weight, mask))

    def source(self, weight: Tensor) -> Tensor:
        return weight.clamp(-1, 1)

    def store(self, integers: np.ndarray) -> Code:
        if self.adder.exact:
            return store_signs(integers)
        if not integers.all():
            raise ValueError(f"binary adder must be exact for pruned weights, not {self.adder}")
        return Binary(integers, self.adder, min(self.ti, self.shape[0] // self.groups))
