"""Equal steps of tanh(w), a baseline of QGAN."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code, Codebook
from organza.codes.spec import CodeSpec
from organza.codes.tanh import tanh_steps
from organza.compress.coders.checks import check_integer
from organza.compress.coders.rounding import MeasuringCoder, steps

LEAST, MOST = 1e-2, 8.0  # arguments between which tanh is neither a line nor 1 in float32


class TanhCoder(MeasuringCoder):
    """tanh(w) / max|tanh(w)| in 2^k equal steps (Zhou et al., DoReFa-Net, arXiv:1606.06160, equation 9), and back.

    DoReFa-Net computes with the steps themselves; here, as in Wang et al. (QGAN, arXiv:1901.08263), with the weights
    that have them as their tanh, which need no training to be near the old ones. Centroids have 8 bits. With a mask 2^k
    − 1 steps (k = 1: three), one of them 0. The argument of the largest weight is kept within 0.01 … 8.

    Parameters
    ----------
    bits : k, 1…8. granularity : "tensor" or "network": all channels have one codebook.
    """

    kind = "tanh"
    granularities = ("tensor", "network")

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 4, granularity: str | None = None
    ) -> None:
        super().__init__(shape, groups, granularity=granularity)
        self.bits = check_integer("tanh bits", bits, 1, 8)

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("codebook", {"law": "tanh", "bits": self.bits})

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        peak = self.measured(weight, mask)
        steepness = float(peak.clamp(LEAST, MOST))
        count = 1 << self.bits if mask is None else max((1 << self.bits) - 1, 3)
        table = torch.from_numpy(tanh_steps(count, steepness)).float()
        scale = steps(peak / 127)
        step = (weight * (steepness / (127 * scale))).tanh() * ((count - 1) / 2 / np.tanh(steepness))
        # Nearest of the steps −(count − 1) / 2 … (count − 1) / 2.
        index = (step + (count - 1) / 2).round().clamp(0, count - 1).int()
        return table.index_select(0, index.reshape(-1)).reshape(weight.shape), scale

    def store(self, integers: np.ndarray) -> Code:
        return Codebook.of(integers)

