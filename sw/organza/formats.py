"""Number formats of the tensors between layers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from organza.exponents import MANTISSA_BITS, ExponentRule, check_exponent


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

    def to_wire(self, q: np.ndarray) -> np.ndarray:
        """What stands on the wires for integers: `bits` bits, `signed` or not."""
        return q

    def from_wire(self, wire: np.ndarray) -> np.ndarray:
        """Inverse of `to_wire`."""
        return wire

    def holds(self, values: np.ndarray) -> bool:
        """Whether every one of these integers belongs to the format."""
        return bool(values.min() >= self.low and values.max() <= self.high)

    def parameters(self) -> dict[str, Any]:
        """The format for JSON; `restore_format` is its inverse."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def restore(cls, **parameters: Any) -> Format:
        """The format with these parameters; raises as the constructor does."""
        return cls(**parameters)


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


@dataclass(frozen=True)
class Flex(Format):
    """Mantissas of 16 bits that share one exponent of 5 bits: real = mantissa * 2**exponent.

    Köster et al., Flexpoint, NIPS 2017, flex16+5.

    exponent : −31…0. Raises TypeError / ValueError for others.
    """

    kind: ClassVar[str] = "flex"

    exponent: int

    def __post_init__(self) -> None:
        check_exponent("Flex exponent", self.exponent)

    @property
    def bits(self) -> int:
        """Bits of a mantissa."""
        return MANTISSA_BITS

    @property
    def signed(self) -> bool:
        """Mantissas are two's complement."""
        return True

    @property
    def scale(self) -> float:
        """Real value of mantissa 1."""
        return 2.0**self.exponent

    @property
    def low(self) -> int:
        """Smallest mantissa."""
        return -(1 << (MANTISSA_BITS - 1))

    @property
    def high(self) -> int:
        """Largest mantissa."""
        return (1 << (MANTISSA_BITS - 1)) - 1

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Nearest mantissas (half up), clamped, of a real array of any shape; int64."""
        x = np.asarray(x, dtype=np.float64)
        if not np.isfinite(x).all():
            raise ValueError("Values to quantize must be finite, not NaN or infinite")
        return np.clip(np.floor(np.ldexp(x, -self.exponent) + 0.5), self.low, self.high).astype(np.int64)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Real values of a mantissa array; float64."""
        return np.ldexp(np.asarray(q, dtype=np.float64), self.exponent)


@dataclass(frozen=True)
class Managed(Flex):
    """Mantissas whose exponent every image has its own of, picked by `rule` from the images before.

    Only between layers. As a `Flex` it is the tensor at the rule's `initial` exponent; `at` gives that of an image.

    rule : `ExponentRule`; its `initial` is `exponent`. Raises as `Flex` does, TypeError for another rule, and ValueError if
        the two exponents differ.
    """

    kind: ClassVar[str] = "managed"

    rule: ExponentRule

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rule, ExponentRule):
            raise TypeError(f"Managed rule must be an ExponentRule, not {self.rule!r}")
        if self.rule.initial != self.exponent:
            raise ValueError(f"Managed exponent must be that of its rule, {self.rule.initial}, not {self.exponent}")

    @classmethod
    def of(cls, rule: ExponentRule) -> Managed:
        """The format with this rule."""
        return cls(rule.initial, rule)

    def at(self, exponent: int) -> Flex:
        """The tensor of an image that has this exponent."""
        return Flex(exponent)

    def parameters(self) -> dict[str, Any]:
        """The rule's numbers."""
        return {"kind": self.kind, **asdict(self.rule)}

    @classmethod
    def restore(cls, **parameters: Any) -> Managed:
        """Inverse of `parameters`, without the kind."""
        return cls.of(ExponentRule(**parameters))


@dataclass(frozen=True)
class Sign(Format):
    """Only the sign: real = ±scale, integers −1 and 1, one wire that is 1 for −1.

    A position that does not exist (padding, inserted zeros) still counts 0. Raises TypeError / ValueError for a scale that is
    not positive and finite.
    """

    kind: ClassVar[str] = "sign"
    scale: float

    def __post_init__(self) -> None:
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float)):
            raise TypeError(f"Sign scale must be a number, not {self.scale!r}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Sign scale must be positive and finite, not {self.scale}")

    @property
    def bits(self) -> int:
        """One wire."""
        return 1

    @property
    def signed(self) -> bool:
        """Of the wire, see `to_wire`."""
        return False

    @property
    def low(self) -> int:
        """The smaller integer."""
        return -1

    @property
    def high(self) -> int:
        """The larger integer."""
        return 1

    def holds(self, values: np.ndarray) -> bool:
        """Whether all are −1 or 1."""
        return bool((np.abs(values) == 1).all())

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """−1 below 0, else 1; int64."""
        x = np.asarray(x, dtype=np.float64)
        if not np.isfinite(x).all():
            raise ValueError("Values to quantize must be finite, not NaN or infinite")
        return np.where(x < 0, -1, 1).astype(np.int64)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Real values of an integer array; float64."""
        return np.asarray(q, dtype=np.float64) * self.scale

    def to_wire(self, q: np.ndarray) -> np.ndarray:
        """1 for −1, 0 for 1."""
        return (np.asarray(q) < 0).astype(np.int64)

    def from_wire(self, wire: np.ndarray) -> np.ndarray:
        """Inverse of `to_wire`."""
        return 1 - 2 * np.asarray(wire, np.int64)


FORMATS: dict[str, Any] = {made.kind: made for made in (Fixed, Flex, Managed, Sign)}


def restore_format(parameters: dict[str, Any]) -> Format:
    """The format with these `parameters()`; raises as its constructor does, ValueError for an unknown kind."""
    parameters = dict(parameters)
    kind = parameters.pop("kind")
    if kind not in FORMATS:
        raise ValueError(f"format kind must be one of {', '.join(FORMATS)}, not {kind!r}")
    return FORMATS[kind].restore(**parameters)
