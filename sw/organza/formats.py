"""Number formats of the tensors between layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fixed:
    """Integers with a common real scale and zero point 0: real = integer * scale.

    Raises TypeError / ValueError for bits outside 1…16 or a scale that is not positive and finite.
    """

    bits: int
    signed: bool
    scale: float

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int):
            raise TypeError(f"Fixed bits must be an integer, not {self.bits!r}")
        if not isinstance(self.signed, bool):
            raise TypeError(f"Fixed signed must be a bool, not {self.signed!r}")
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float)):
            raise TypeError(f"Fixed scale must be a number, not {self.scale!r}")
        if not 1 <= self.bits <= 16:
            raise ValueError(f"Fixed bits must be between 1 and 16, not {self.bits}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Fixed scale must be positive and finite, not {self.scale}")

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.low, self.high)

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Nearest integers (half up), clamped, of a real array of any shape; int64."""
        x = np.asarray(x, dtype=np.float64)
        if not np.isfinite(x).all():
            raise ValueError("Values to quantize must be finite, not NaN or infinite")
        return np.clip(np.floor(x / self.scale + 0.5), self.low, self.high).astype(np.int64)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Real values of an integer array; float64."""
        return np.asarray(q, dtype=np.float64) * self.scale
