"""Plain two's complement weights of 2 to 16 bits, one lane word read per cycle in any order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from organza.calibration import weight_scales
from organza.checks import check_integer
from organza.codes.code import Code, PlainCode, by_channel, check_weights, from_channels, no_options
from organza.formats import Format


@dataclass(frozen=True, eq=False)
class Linear(PlainCode):
    """Symmetric linear code.

    Parameters
    ----------
    weights : integers, shape (ci, co // groups, ky, kx), within ±(2**(bits-1) - 1).
    bits : stored bits of a weight, 2…16.

    Raises
    ------
    TypeError : weights that are not integers.
    ValueError : a wrong shape, or a value that `bits` cannot represent.
    """

    weights: np.ndarray
    bits: int = 8

    kind = "linear"
    loads = True

    def __post_init__(self) -> None:
        check_integer("Linear bits", self.bits, 2, 16)
        weights = check_weights("Linear", self.weights)
        if np.abs(weights).max() > self.magnitude:
            raise ValueError(f"Linear weights of {self.bits} bits must be within ±{self.magnitude}")
        object.__setattr__(self, "weights", weights)

    @property
    def field_bits(self) -> int:
        return self.bits

    def fields(self) -> np.ndarray:
        return self.weights & ((1 << self.bits) - 1)

    def of_fields(self, fields: np.ndarray) -> Code:
        return replace(self, weights=fields - (fields >> (self.bits - 1) << self.bits))

    @property
    def magnitude(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def arithmetics(self) -> tuple[str, ...]:
        """"packed" halves the multipliers of weights of at most 8 bits, "lut" needs none for at most 4."""
        return "plain", *(["packed"] if self.bits <= 8 else []), *(["lut"] if self.bits <= 4 else [])

    def needs(self, arithmetic: str, activation: Format) -> str | None:
        return "activations of at most 8 bits" if arithmetic == "packed" and activation.bits > 8 else None

    def together(self, arithmetic: str) -> int:
        return 2 if arithmetic == "packed" else 1

    @property
    def sharing(self) -> str:
        return f"linear weights of {self.bits} bits"

    def parameters(self) -> dict[str, Any]:
        return {"bits": self.bits}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.astype(np.int16)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: int
    ) -> tuple[Code, np.ndarray]:
        """Scales of least squared error, rounded to nearest. Option `bits`, 8 by default."""
        bits = check_integer("Linear bits", options.pop("bits", 8), 2, 16)
        no_options("linear", options)
        scales = weight_scales(weights, groups, bits, power)
        step = np.where(scales > 0, scales, 1)[:, None]
        top = (1 << (bits - 1)) - 1
        rows = np.clip(np.round(by_channel(weights, groups) / step), -top, top).astype(np.int64)
        return cls(from_channels(rows, weights.shape, groups), bits), scales
