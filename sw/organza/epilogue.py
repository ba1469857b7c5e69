"""What happens to an exact sum before it becomes the next layer's input: the normative integer rule.

``v = acc + bias``; ``m = positive if v >= 0 else negative``; ``q = clamp((v*m + r) >> shift, low, high)`` with an
arithmetic shift and ``r = 2**(shift-1)`` (0 when shift is 0): one rounding, half up. ReLU, LeakyReLU, PReLU and the
identity are choices of `negative`. An optional table maps every clamped q to an output (tanh, sigmoid).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

MULTIPLIER_BITS = 16
MAX_SHIFT = 47
MAX_TABLE_BITS = 12
MAX_BIAS_BITS = 48


@dataclass(frozen=True, eq=False)
class Epilogue:
    """Requantisation of one layer.

    Parameters
    ----------
    bias, positive, negative, shift : int64 arrays, shape (co,). Multipliers are signed 16-bit, shifts 0…47.
    low, high : clamp bounds; with a table, the table's domain.
    table : int64 array with one entry for each value low…high (at most 4,096), or None.

    Raises
    ------
    TypeError : an array that does not hold integers, or a bound that is none.
    ValueError : shapes that differ or values out of range.
    """

    bias: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    shift: np.ndarray
    low: int
    high: int
    table: np.ndarray | None = None

    bias_bits: ClassVar[int] = MAX_BIAS_BITS
    shifts: ClassVar[tuple[int, int]] = (0, MAX_SHIFT)

    def __post_init__(self) -> None:
        for name in ("bias", "positive", "negative", "shift", "table"):
            array = getattr(self, name)
            if name == "table" and array is None:
                continue
            array = np.asarray(array)
            if not np.issubdtype(array.dtype, np.integer):
                raise TypeError(f"Epilogue {name} must hold integers, not {array.dtype}")
            if array.ndim != 1:
                raise ValueError(f"Epilogue {name} must be one-dimensional, not of shape {array.shape}")
            object.__setattr__(self, name, array.astype(np.int64))
        for name in ("positive", "negative", "shift"):
            if getattr(self, name).shape != self.bias.shape:
                raise ValueError(
                    f"Epilogue {name} must have {len(self.bias)} entries like the bias, "
                    f"not {len(getattr(self, name))}"
                )
        bound = 1 << (MULTIPLIER_BITS - 1)
        for name, low, high in (
            ("bias", -(1 << (self.bias_bits - 1)), (1 << (self.bias_bits - 1)) - 1),
            ("positive", -bound, bound - 1),
            ("negative", -bound, bound - 1),
            ("shift", *self.shifts),
        ):
            array = getattr(self, name)
            if array.size and (array.min() < low or array.max() > high):
                raise ValueError(
                    f"Epilogue {name} must be between {low} and {high}, not {array.min()}…{array.max()}"
                )
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Epilogue {name} must be an integer, not {value!r}")
        if self.low > self.high:
            raise ValueError(f"Epilogue low must not exceed high, not {self.low} > {self.high}")
        if self.table is not None:
            if self.domain_bits > MAX_TABLE_BITS:
                raise ValueError(f"Epilogue table must span at most {1 << MAX_TABLE_BITS} values")
            if len(self.table) != self.high - self.low + 1:
                raise ValueError(
                    f"Epilogue table must have one entry for each of {self.low}…{self.high}, "
                    f"not {len(self.table)}"
                )

    @property
    def domain_bits(self) -> int:
        """Address bits of the table."""
        return (self.high - self.low).bit_length()

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value that can come out."""
        if self.table is None:
            return self.low, self.high
        return int(self.table.min()), int(self.table.max())

    @property
    def values(self) -> np.ndarray:
        """Everything that can come out, or without a table its bounds and 0 if that is between them."""
        if self.table is not None:
            return self.table
        return np.unique(np.clip([self.low, 0, self.high], self.low, self.high))

    @classmethod
    def sign(cls, bias: np.ndarray, direction: np.ndarray | None = None) -> Epilogue:
        """1 where sum + bias ≥ 0, else −1: a comparison with a threshold of −`bias`, no multiplier.

        direction : 1, or −1 for channels (co,) that are 1 where sum + bias ≤ 0.
        """
        ones = np.ones(len(bias), np.int64)
        factor = ones if direction is None else direction
        return cls(bias, factor, factor, 0 * ones, -1, 0, np.array([-1, 1]))

    def aligned_bias(self, exponent: int) -> np.ndarray:
        """The bias as it is added to the sums of an image whose input has this exponent: always the same here."""
        return self.bias

    def rounded(self, acc: np.ndarray) -> np.ndarray:
        """q before the clamp, int64, for exact sums `acc` of shape (..., co)."""
        v = acc + self.bias
        half = np.where(self.shift > 0, np.int64(1) << np.maximum(self.shift - 1, 0), 0)
        if (self.negative == self.positive).all():
            product = v * self.positive
        elif not self.negative.any():
            product = np.maximum(v, 0) * self.positive
        else:
            product = v * np.where(v >= 0, self.positive, self.negative)
        return (product + half) >> self.shift

    def clamped(self, q: np.ndarray) -> np.ndarray:
        """Outputs, int64, of what `rounded` gave."""
        q = np.clip(q, self.low, self.high)
        return q if self.table is None else self.table[q - self.low]

    def compute(self, acc: np.ndarray) -> np.ndarray:
        """Outputs, int64, for exact sums `acc` of shape (..., co)."""
        return self.clamped(self.rounded(acc))
