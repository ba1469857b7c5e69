"""Binary weights ±1: one bit that flips the sign of the activation (ApGAN; W1A8, or W1A1 where the input is signs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from organza.codes.code import (
    Code,
    PlainCode,
    by_channel,
    channel_power,
    check_weights,
    from_channels,
    no_options,
)
from organza.formats import Format, Sign


@dataclass(frozen=True, eq=False)
class Binary(PlainCode):
    """Field: 1 for -1, 0 for +1. There is no zero: lanes without a weight must get the activation 0.

    Raises TypeError for weights that are not integers, ValueError for a wrong shape or weights other than ±1.
    """

    weights: np.ndarray

    kind = "binary"

    def __post_init__(self) -> None:
        weights = check_weights("Binary", self.weights)
        if not (np.abs(weights) == 1).all():
            raise ValueError("Binary weights must be -1 or 1")
        object.__setattr__(self, "weights", weights)

    @property
    def field_bits(self) -> int:
        return 1

    def fields(self) -> np.ndarray:
        return (self.weights < 0).astype(np.int64)

    @property
    def zero_field(self) -> int | None:
        return None

    @property
    def magnitude(self) -> int:
        return 1

    @property
    def arithmetics(self) -> tuple[str, ...]:
        """"xnor" counts equal signs."""
        return "plain", "xnor"

    def needs(self, arithmetic: str, activation: Format) -> str | None:
        return "signs as activations" if arithmetic == "xnor" and not isinstance(activation, Sign) else None

    def lanes_for(self, activation: Format) -> list[str]:
        return ["xnor", "plain"] if isinstance(activation, Sign) else ["plain"]

    def parameters(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.astype(np.int8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: int
    ) -> tuple[Code, np.ndarray]:
        """Signs, and the (input-power weighted) mean magnitude of every output channel.

        Option `activations`, bits of the layer's input, 1 or 8, is for the layer before.
        """
        activations = options.pop("activations", 8)
        if activations not in (1, 8):
            raise ValueError(f"binary activations must have 1 or 8 bits, not {activations}")
        no_options("binary", options)
        rows, cost = by_channel(weights, groups), channel_power(power, weights.shape, groups)
        cost = np.where(cost > 0, cost, cost.max() * 1e-9 or 1.0)
        scales = (np.abs(rows) * cost).sum(1) / cost.sum(1)
        signs = np.where(rows < 0, -1, 1)
        return cls(from_channels(signs, weights.shape, groups)), scales


def binarise_by_redundancy(ci: int, height: int, width: int) -> bool:
    """ApGAN's layer selection: redundancy c - h * w of a layer's *input* is positive."""
    return ci - height * width > 0
