"""Number formats of the tensors between layers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np


class Format(ABC):
    """How the integers of one tensor stand for real numbers, and how many wires one of them takes.

    bits, signed : of an integer on the wires of a joint.
    """

    kind: ClassVar[str]

    bits: Any
    signed: Any

    @property
    @abstractmethod
    def low(self) -> int:
        """Smallest integer."""

    @property
    @abstractmethod
    def high(self) -> int:
        """Largest integer."""

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.low, self.high)

    @abstractmethod
    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Integers of a real array of any shape; int64. Raises ValueError for values that are not finite."""

    @abstractmethod
    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Real values of an integer array; float64."""

    def parameters(self) -> dict[str, Any]:
        """The format for JSON; `restore_format` is its inverse."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Fixed(Format):
    """Integers with a common real scale and zero point 0: real = integer * scale.

    Raises TypeError / ValueError for bits outside 1…16 or a scale that is not positive and finite.
    """

    kind: ClassVar[str] = "fixed"

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

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Nearest integers (half up), clamped, of a real array of any shape; int64."""
        x = np.asarray(x, dtype=np.float64)
        if not np.isfinite(x).all():
            raise ValueError("Values to quantize must be finite, not NaN or infinite")
        return np.clip(np.floor(x / self.scale + 0.5), self.low, self.high).astype(np.int64)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Real values of an integer array; float64."""
        return np.asarray(q, dtype=np.float64) * self.scale


FORMATS: dict[str, Any] = {made.kind: made for made in (Fixed,)}


def restore_format(parameters: dict[str, Any]) -> Format:
    """The format with these `parameters()`; raises as its constructor does, ValueError for an unknown kind."""
    parameters = dict(parameters)
    kind = parameters.pop("kind")
    if kind not in FORMATS:
        raise ValueError(f"format kind must be one of {', '.join(FORMATS)}, not {kind!r}")
    return FORMATS[kind](**parameters)
