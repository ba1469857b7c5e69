"""Power-of-two weights: sign and exponent, multiplied by a shifter (log quantisation)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from organza.checks import check_integer
from organza.codes.code import (
    Code,
    PlainCode,
    by_channel,
    channel_power,
    check_weights,
    from_channels,
    no_options,
)


@dataclass(frozen=True, eq=False)
class PowerOfTwo(PlainCode):
    """Weights 0 and ±2**e, 0 ≤ e < 2**(bits-1) - 1.

    Field: low bits - 1 bits hold 0 for zero, else e + 1; the top bit is the sign.

    Parameters
    ----------
    weights : integers of that form. bits : stored bits of a weight, 2…5.

    Raises
    ------
    TypeError : weights or bits that are not integers.
    ValueError : bits out of range, a wrong shape, or a weight that is no such power.
    """

    weights: np.ndarray
    bits: int = 4

    kind = "power"
    loads = True

    def __post_init__(self) -> None:
        check_integer("PowerOfTwo bits", self.bits, 2, 5)
        weights = check_weights("PowerOfTwo", self.weights)
        magnitude = np.abs(weights)
        if (magnitude & (magnitude - 1)).any() or magnitude.max() > self.magnitude:
            raise ValueError(f"PowerOfTwo weights of {self.bits} bits must be 0 or ±1, 2, 4, … {self.magnitude}")
        object.__setattr__(self, "weights", weights)

    @property
    def field_bits(self) -> int:
        return self.bits

    def fields(self) -> np.ndarray:
        exponent = np.frexp(np.abs(self.weights).astype(np.float64))[1].astype(np.int64)  # 2**e has e + 1, 0 has 0
        return exponent + ((self.weights < 0).astype(np.int64) << (self.bits - 1))

    def of_fields(self, fields: np.ndarray) -> Code:
        """A negative zero is refused."""
        exponent = fields & ((1 << (self.bits - 1)) - 1)
        weights = np.where(exponent == 0, 3 * (fields != 0), 1 << np.maximum(exponent - 1, 0))
        return replace(self, weights=np.where(fields >> (self.bits - 1) == 1, -weights, weights))

    @property
    def magnitude(self) -> int:
        return 1 << ((1 << (self.bits - 1)) - 2)

    def parameters(self) -> dict[str, Any]:
        return {"bits": self.bits}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.astype(np.int16)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: int
    ) -> tuple[Code, np.ndarray]:
        """Nearest level (in value, not in exponent) for the scale of least squared error. Option `bits`, 4 by default."""
        bits = check_integer("PowerOfTwo bits", options.pop("bits", 4), 2, 5)
        no_options("power", options)
        rows, cost = by_channel(weights, groups), channel_power(power, weights.shape, groups)
        largest_exponent = (1 << (bits - 1)) - 2
        levels = np.concatenate([[0], 2.0 ** np.arange(largest_exponent + 1)])
        edges = (levels[1:] + levels[:-1]) / 2
        peak = np.abs(rows).max(1)
        best = np.full(len(rows), np.inf)
        scales, chosen = np.zeros(len(rows)), np.zeros(rows.shape, np.int64)
        # One octave of scales covers all: a factor of two shifts every exponent.
        for factor in 2.0 ** np.linspace(-0.75, 0.75, 25):
            scale = factor * peak / levels[-1]
            step = np.where(scale > 0, scale, 1)[:, None]
            q = np.sign(rows) * levels[np.searchsorted(edges, np.abs(rows) / step, side="right")]
            error = (cost * (q * step - rows) ** 2).sum(1)
            better = error < best
            best, scales = np.where(better, error, best), np.where(better, scale, scales)
            chosen = np.where(better[:, None], q.astype(np.int64), chosen)
        return cls(from_channels(chosen, weights.shape, groups), bits), scales
