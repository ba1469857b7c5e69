"""Ternary weights −1, 0, 1 times a scale, computed or learned (TGAN)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import Code, Ternary
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_choice, check_number
from organza.compress.coders.rounding import RoundingCoder, kept, steps
from organza.compress.gradients import straight_through

THRESHOLDS = ("max", "mean", "sparsity")
SCALES = ("mean", "learned")


class TernaryCoder(RoundingCoder):
    """t = sign(w) where |w| ≥ Δ, w ≈ S · t (Rakin et al., PIM-TGAN, ICCD 2018); no gradient beyond |w| = 1.

    Parameters
    ----------
    threshold : Δ. "max": 0.05 · max|w| (the authors' code); "mean": 0.7 · mean|w| (Li et al., Ternary Weight Networks);
        "sparsity": what leaves the share `sparsity` of the weights 0, found again by every refit.
    sparsity : 0…0.99, of the weights that a mask keeps. scale : S. "mean": of |w| ≥ Δ; "learned": a parameter that
        starts there, ∂L/∂S = Σ t · ∂L/∂w. granularity : "tensor", "channel" or "network". per_byte : see
        `organza.codes.Ternary`.
    """

    kind = "ternary"
    delta: Tensor  # thresholds of "sparsity"
    network: Tensor  # threshold and mean magnitude above it

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, threshold: str = "max", sparsity: float = 0.5,
        scale: str = "mean", granularity: str = "tensor", per_byte: int = 4,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups, granularity=granularity)
        self.threshold = check_choice("ternary threshold", threshold, THRESHOLDS)
        self.sparsity = check_number("ternary sparsity", sparsity, 0, 0.99)
        self.scale = check_choice("ternary scale", scale, SCALES)
        if scale == "learned" and granularity == "network":
            raise ValueError("ternary scale must be mean for granularity network, not learned")
        if per_byte not in (4, 5):
            raise ValueError(f"ternary per_byte must be 4 or 5, not {per_byte!r}")
        self.per_byte = per_byte
        count = self.co if granularity == "channel" else 1
        if threshold == "sparsity":
            self.register_buffer("delta", torch.zeros(count))
        if granularity == "network":
            self.register_buffer("network", torch.zeros(2, 1))
        self.learned = nn.Parameter(torch.zeros(count)) if scale == "learned" else None

    def options(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold, "sparsity": self.sparsity, "scale": self.scale,
            "granularity": self.granularity, "per_byte": self.per_byte,
        }  # fmt: skip

    def spec(self) -> CodeSpec:
        return CodeSpec("ternary", {"per_byte": self.per_byte})

    def _deltas(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        if self.threshold == "max":
            return 0.05 * self.reduce(weight.abs(), "amax")
        return 0.7 * self.means(weight.abs(), mask) if self.threshold == "mean" else self.delta

    def _sizes(self, weight: Tensor, mask: Tensor | None, deltas: Tensor) -> Tensor:
        above = weight.abs() >= self.spread(deltas)
        return self.means(weight.abs() * above, above if mask is None else above & mask)

    def measured(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Thresholds and mean magnitudes above them."""
        if self.granularity == "network":
            return self.network[0], self.network[1]
        deltas = self._deltas(weight, mask)
        return deltas, self._sizes(weight, mask, deltas)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        deltas, sizes = self.measured(weight, mask)
        # A weight of 0 stays 0 even if everything is above the threshold.
        trits = weight.sign() * (weight.abs() >= self.spread(deltas))
        return trits, steps(sizes if self.learned is None else self.learned)

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        if self.learned is None:
            return super().forward(weight, mask)
        assert weight is not None
        with torch.no_grad():
            trits, scales = self.integers(weight, mask)
        source = self.spread(straight_through(scales, self.learned)) * trits
        return source + (self.source(weight) - self.source(weight).detach())

    def source(self, weight: Tensor) -> Tensor:
        return weight.clamp(-1, 1)

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        if weight is None:
            return
        if self.granularity == "network":
            self.fit([weight], [mask])
        elif self.threshold == "sparsity":
            self.delta.copy_(self._quantiles(weight, mask))
        if self.learned is not None and not self.learned.any():
            self.learned.copy_(self.measured(weight, mask)[1])

    @torch.no_grad()
    def fit(self, weights: list[Tensor], masks: list[Tensor | None]) -> None:
        everything = kept(weights, masks)
        if self.threshold == "sparsity":
            self.delta.copy_(self._quantiles(everything, None))
        deltas = self._deltas(everything, None)
        self.network.copy_(torch.stack([deltas, self._sizes(everything, None, deltas)]))

    def _quantiles(self, weight: Tensor, mask: Tensor | None) -> Tensor:
        """Magnitudes from which on a weight is not among the share `sparsity` of the smallest."""
        if self.granularity != "channel":
            rows, kept_rows = [weight.reshape(-1)], [None if mask is None else mask.reshape(-1)]
        else:
            rows = list(self.by_channel(weight))
            kept_rows = [None] * self.co if mask is None else list(self.by_channel(mask))
        made = []
        for row, keep in zip(rows, kept_rows, strict=True):
            sizes = (row if keep is None else row[keep]).abs().sort().values
            place = min(round(self.sparsity * len(sizes)), len(sizes) - 1)
            made.append(sizes[place] if len(sizes) else weight.new_zeros(()))
        return torch.stack(made)

    def store(self, integers: np.ndarray) -> Code:
        return Ternary(integers, self.per_byte)
