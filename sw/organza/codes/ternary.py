"""Ternary weights {-1, 0, 1}: two bits whose sign and non-zero bit drive the adder (TGAN), or five weights in a byte."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from organza.codes.binary import Binary
from organza.codes.code import (
    Code,
    PlainCode,
    by_channel,
    channel_power,
    check_weights,
    from_channels,
    lane_words,
    no_options,
)
from organza.codes.trits import BYTE, TRITS, bytes_of, trit_bytes


@dataclass(frozen=True, eq=False)
class Ternary(PlainCode):
    """Field bit 0: not zero, bit 1: negative.

    per_byte : weights that a byte of the memory holds: 4, the fields themselves, or 5, decoded in front of the lanes
        (`organza.codes.trits`). Lane words are whole bytes then; `stored_bits` counts the weights without such padding.

    Raises TypeError for weights that are not integers, ValueError for a wrong shape, weights other than -1, 0, 1, or another
    `per_byte`.
    """

    weights: np.ndarray
    per_byte: int = 4

    kind = "ternary"
    loads = True

    def __post_init__(self) -> None:
        weights = check_weights("Ternary", self.weights)
        if np.abs(weights).max() > 1:
            raise ValueError("Ternary weights must be -1, 0 or 1")
        object.__setattr__(self, "weights", weights)
        if self.per_byte not in (4, TRITS):
            raise ValueError(f"Ternary weights in a byte must be 4 or {TRITS}, not {self.per_byte!r}")

    @property
    def field_bits(self) -> int:
        return 2

    def fields(self) -> np.ndarray:
        return (self.weights != 0) + 2 * (self.weights < 0)

    def of_fields(self, fields: np.ndarray) -> Code:
        """A field that says negative and zero is refused."""
        return replace(self, weights=np.where(fields == 2, 2, (fields & 1) * (1 - (fields & 2))))

    @property
    def stored_bits(self) -> int:
        count = self.weights.size
        return BYTE * bytes_of(count) if self.per_byte == TRITS else self.field_bits * count

    def lane_bits(self, ti: int, to: int, groups: int) -> int:
        if self.per_byte != TRITS:
            return super().lane_bits(ti, to, groups)
        return int(self.tap_issues(ti, to, groups).sum()) * BYTE * bytes_of(ti * to)

    def check_inside(self, outer: str) -> None:
        if self.per_byte != 4:
            raise ValueError(f"{outer} must be around ternary weights of 2 bits, not {self.per_byte} in a byte")

    def inside(self) -> Code:
        """Two bits each."""
        return replace(self, per_byte=4)

    def without_zeros(self) -> Code:
        """Only signs are left."""
        return Binary(np.where(self.weights < 0, -1, 1))

    def byte_words(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Memory image of five weights in a byte: int64 (words, bytes of a lane word)."""
        words = lane_words(self.weights % 3, ti, to, groups).reshape(-1, ti * to)
        return trit_bytes(np.pad(words, ((0, 0), (0, -ti * to % TRITS))))

    @property
    def magnitude(self) -> int:
        return 1

    @property
    def sharing(self) -> str:
        return f"ternary weights, {self.per_byte} in a byte"

    def parameters(self) -> dict[str, Any]:
        return {"per_byte": self.per_byte}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.astype(np.int8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: int
    ) -> tuple[Code, np.ndarray]:
        """Exact least squares for every output channel: for each number of kept weights, largest first, the best scale is
        their mean magnitude; the number with the least (input-power weighted) error wins."""
        per_byte = options.pop("per_byte", 4)
        no_options("ternary", options)
        rows, cost = by_channel(weights, groups), channel_power(power, weights.shape, groups)
        cost = np.where(cost > 0, cost, cost.max() * 1e-9 or 1.0)
        magnitude = np.abs(rows)
        order = np.argsort(-magnitude, axis=1, kind="stable")
        sorted_cost = np.take_along_axis(cost, order, 1)
        gained = np.cumsum(np.take_along_axis(magnitude * cost, order, 1), 1)
        weight = np.cumsum(sorted_cost, 1)
        kept = np.argmax(gained**2 / weight, axis=1)  # error falls by gained² / weight
        channel = np.arange(len(rows))
        scales = gained[channel, kept] / weight[channel, kept]
        rank = np.argsort(order, axis=1)
        trits = np.where(rank <= kept[:, None], np.sign(rows), 0).astype(np.int64)
        return cls(from_channels(trits, weights.shape, groups), per_byte), scales
