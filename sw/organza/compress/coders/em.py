"""Affine quantisation alpha · z + beta with unsigned levels z: by expectation maximisation (QGAN), or by the range."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.codes import Affine, Code
from organza.codes.affine import FRACTION, MAX_OFFSET_BITS
from organza.codes.line import best_line, fit_line, mean_error, nearest_levels, range_line
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_integer
from organza.compress.coders.coder import LEAST_SCALE
from organza.compress.coders.rounding import RoundingCoder, kept

ONE = 1 << FRACTION
SETTLE = 10


class LineCoder(RoundingCoder):
    """Levels 0…2^k − 1 of one line, which stays from one refit to the next.

    The chip's zero point −beta / alpha has `FRACTION` bits; with a mask it is one of the levels, so that 0 is exact.

    Parameters
    ----------
    bits : k, 1…8. granularity : "tensor" and "network" have one line; "channel" has one for weights over the root of
        their channel's mean square, because the chip has one zero point for a layer.
    """

    step: Tensor  # alpha / 2**FRACTION
    offset: Tensor  # zero point · 2**FRACTION
    unit: Tensor

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 4, granularity: str = "tensor"
    ) -> None:
        super().__init__(shape, groups, granularity=granularity)
        self.bits = check_integer(f"{self.kind} bits", bits, 1, 8)
        self.register_buffer("step", torch.zeros(1))
        self.register_buffer("offset", torch.zeros(1))
        if granularity == "channel":
            self.register_buffer("unit", torch.ones(self.co))

    def options(self) -> dict[str, Any]:
        return {"bits": self.bits, "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("affine", {"bits": self.bits})

    @property
    def top(self) -> int:
        """Largest level."""
        return (1 << self.bits) - 1

    def scales(self) -> Tensor:
        """(co,) or (1,)"""
        return (self.step * self.unit if self.granularity == "channel" else self.step).clamp_min(LEAST_SCALE)

    def integers(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        scales = self.scales()
        levels = (weight / self.spread(scales * ONE) + self.offset / ONE).round().clamp(0, self.top)
        if self.whole:
            return levels - self.offset / ONE, scales * ONE
        return levels * ONE - self.offset, scales

    def store(self, integers: np.ndarray) -> Code:
        offset, fraction = int(self.offset), 0 if self.whole else FRACTION
        zero = offset >> FRACTION - fraction
        return Affine((integers + zero) >> fraction, self.bits, zero, fraction)

    @property
    def whole(self) -> bool:
        """Whether the zero point needs no fraction."""
        return float(self.offset) % ONE == 0

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        if weight is None:
            return
        if self.granularity == "channel":
            self.unit.copy_(self.sizes(weight, mask))
            weight = weight / self.spread(self.unit)
        self.fit([weight], [mask])

    @torch.no_grad()
    def fit(self, weights: list[Tensor], masks: list[Tensor | None]) -> None:
        w = kept(weights, masks).double().numpy()
        whole = any(mask is not None for mask in masks)
        found = self.settle(w, *self.line(np.append(w, 0) if whole else w), whole)
        if self.keeps and float(self.step) and (self.whole or not whole):
            old = float(self.step) * ONE, float(self.offset) / ONE
            found = min(found, (mean_error(w, old[0], -old[0] * old[1], self.top), *old))
        _, alpha, zero = found
        self.step.fill_(alpha / ONE)
        self.offset.fill_(round(zero * ONE))

    keeps = False  # the old line, if the new one is no better

    @abstractmethod
    def line(self, w: np.ndarray) -> tuple[float, float]:
        """alpha and beta for weights, float64 in a row."""

    def settle(self, w: np.ndarray, alpha: float, beta: float, whole: bool) -> tuple[float, float, float]:
        """(mean squared error, alpha, zero point) for the chip: its nearest zero point, then the best alpha."""
        limit = ((1 << MAX_OFFSET_BITS) - 1) / ONE
        zero = min(max(-beta / alpha, 0), self.top) if whole else min(max(-beta / alpha, -limit), limit)
        zero = float(np.round(zero)) if whole else float(np.round(zero * ONE)) / ONE
        best = (np.inf, alpha, zero)
        for _ in range(SETTLE):
            error = mean_error(w, alpha, -alpha * zero, self.top)
            if error >= best[0]:
                break
            best = (error, alpha, zero)
            z = nearest_levels(w, alpha, -alpha * zero, self.top) - zero
            square = float((z * z).sum())
            alpha = float((w * z).sum()) / square if square else alpha
            if alpha <= 0:
                break
        return best


class EmCoder(LineCoder):
    """QGAN's expectation maximisation (Wang et al., arXiv:1901.08263; best reading: `organza.codes.line`).

    The first fit runs to its end, every refit is a few steps from where the line is and never raises the squared error.
    The line that goes on is not rounded: steps smaller than those of the chip's zero point would come to nothing.

    Parameters
    ----------
    steps : of a refit, 1…100. Others as `LineCoder`.
    """

    kind = "em"
    keeps = True
    real: Tensor  # alpha and beta

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, bits: int = 4, granularity: str = "tensor",
        steps: int = 3,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups, bits=bits, granularity=granularity)
        self.steps = check_integer("em steps", steps, 1, 100)
        self.register_buffer("real", torch.zeros(2, dtype=torch.float64))

    def options(self) -> dict[str, Any]:
        return {**super().options(), "steps": self.steps}

    def line(self, w: np.ndarray) -> tuple[float, float]:
        alpha, beta = self.real.tolist()
        found = fit_line(w, alpha, beta, self.top, self.steps) if alpha else best_line(w, self.top)
        self.real.copy_(torch.tensor(found[1:], dtype=torch.float64))
        return found[1:]


class MinMaxCoder(LineCoder):
    """From the smallest weight to the largest in equal steps: what QGAN compares with."""

    kind = "minmax"

    def line(self, w: np.ndarray) -> tuple[float, float]:
        return range_line(w, self.top)

    def settle(self, w: np.ndarray, alpha: float, beta: float, whole: bool) -> tuple[float, float, float]:
        """Only the zero point is rounded."""
        return (0.0, alpha, super().settle(w, alpha, beta, whole)[2])

