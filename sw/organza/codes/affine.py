"""Affine weights alpha * z + beta with unsigned z (QGAN): the offset is paid once for all output channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from organza.checks import check_integer
from organza.codes.code import Code, check_weights, no_options
from organza.codes.codebook import Codebook
from organza.codes.line import best_line

FRACTION = 8
MAX_OFFSET_BITS = 20


@dataclass(frozen=True, eq=False)
class Affine(Code):
    """Levels 0…2**bits - 1 of one line for the whole layer: integer = (z << fraction) - offset.

    The lanes sum z·x; the offset times the sum of x is subtracted from every channel's sum.

    Parameters
    ----------
    levels : z, integers of shape (ci, co // groups, ky, kx). bits : of a level, 1…8.
    offset : the real zero point times 2**fraction, |offset| < 2**20. fraction : bits of it behind the point, 0…8.

    Raises
    ------
    TypeError : parameters that are not integers.
    ValueError : a wrong shape or a value out of range.
    """

    levels: np.ndarray
    bits: int
    offset: int
    fraction: int = FRACTION

    kind = "affine"
    loads = True
    external = True

    def __post_init__(self) -> None:
        check_integer("Affine bits", self.bits, 1, 8)
        check_integer("Affine fraction", self.fraction, 0, FRACTION)
        if isinstance(self.offset, bool) or not isinstance(self.offset, int):
            raise TypeError(f"Affine offset must be an integer, not {self.offset!r}")
        if abs(self.offset) >= 1 << MAX_OFFSET_BITS:
            raise ValueError(f"Affine offset must be within ±2**{MAX_OFFSET_BITS}, not {self.offset}")
        levels = check_weights("Affine", self.levels)
        if levels.min() < 0 or levels.max() >= 1 << self.bits:
            raise ValueError(f"Affine levels must be between 0 and {(1 << self.bits) - 1}")
        object.__setattr__(self, "levels", levels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        ci, co, ky, kx = self.levels.shape
        return ci, co, ky, kx

    def integers(self) -> np.ndarray:
        return (self.levels << self.fraction) - self.offset

    def without_zeros(self) -> Code:
        """A codebook, if its 8 bits hold the integers: there is no offset to pay for weights that are not there."""
        integers = self.integers()
        return Codebook.of(integers).without_zeros() if -128 <= integers.min() and integers.max() <= 127 else self

    @property
    def field_bits(self) -> int:
        return self.bits

    def fields(self) -> np.ndarray:
        return self.levels

    def of_fields(self, fields: np.ndarray) -> Code:
        return replace(self, levels=fields)

    @property
    def zero_field(self) -> int | None:
        return None

    @property
    def magnitude(self) -> int:
        top = ((1 << self.bits) - 1) << self.fraction
        return max(abs(self.offset), abs(top - self.offset))

    @property
    def table_bits(self) -> int:
        return MAX_OFFSET_BITS + 1

    @property
    def stored_bits(self) -> int:
        return self.bits * self.levels.size + self.table_bits

    def parameters(self) -> dict[str, Any]:
        return {"bits": self.bits, "offset": self.offset, "fraction": self.fraction}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"levels": self.levels.astype(np.uint8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: int
    ) -> tuple[Code, np.ndarray]:
        """QGAN's EM: nearest levels, then the least-squares line, until the squared error stops falling.

        Starts from the weights' range and, for few bits, also from two deviations around their mean; the better end wins.
        The line is one for the layer, its zero point is rounded to `FRACTION` bits and the levels are chosen once more.
        Option `bits`, 4 by default.
        """
        bits = check_integer("Affine bits", options.pop("bits", 4), 1, 8)
        no_options("affine", options)
        top = (1 << bits) - 1
        _, alpha, beta = best_line(weights.reshape(-1), top)
        limit = (1 << MAX_OFFSET_BITS) - 1
        offset = int(np.clip(np.round(-beta / alpha * (1 << FRACTION)), -limit, limit))
        levels = np.clip(np.round(weights / alpha + offset / (1 << FRACTION)), 0, top).astype(np.int64)
        co = weights.shape[1] * groups
        return cls(levels, bits, offset), np.full(co, alpha / (1 << FRACTION))

