"""Where every tap of a (transposed, strided, cropped) convolution lands.

One rule covers ``ConvTranspose2d``, ``Conv2d`` and ``Linear``: output position Y receives tap k from
input position ``i = (Y * down + crop_before - k) / up`` when that divides and ``i`` is inside the map.
Inserted zeros and padding never appear: a position simply has no such tap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One spatial axis of a Convolve.

    Parameters
    ----------
    size : input positions, at least 1.
    kernel : taps, at least 1.
    up, down : zero-insertion factor before, and subsampling factor after the convolution; at least 1.
    crop_before, crop_after : full-convolution positions dropped at each end; negative values append
        positions (output padding).

    Raises
    ------
    TypeError : a parameter that is not an integer.
    ValueError : a parameter out of range, or an empty output.
    """

    size: int
    kernel: int
    up: int = 1
    down: int = 1
    crop_before: int = 0
    crop_after: int = 0

    def __post_init__(self) -> None:
        for name in ("size", "kernel", "up", "down", "crop_before", "crop_after"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Axis {name} must be an integer, not {value!r}")
        for name in ("size", "kernel", "up", "down"):
            if getattr(self, name) < 1:
                raise ValueError(f"Axis {name} must be at least 1, not {getattr(self, name)}")
        if self.full < 1:
            raise ValueError(
                f"Axis output must not be empty: {self.size} positions with kernel {self.kernel}, "
                f"up {self.up} and crops ({self.crop_before}, {self.crop_after}) leave {self.full}"
            )

    @property
    def full(self) -> int:
        """Positions after cropping, before subsampling."""
        return (self.size - 1) * self.up + self.kernel - self.crop_before - self.crop_after

    @property
    def output(self) -> int:
        """Output positions."""
        return (self.full - 1) // self.down + 1

    def taps(self, position: int) -> list[tuple[int, int]]:
        """``(k, i)`` pairs that exist at output `position`, by rising k (falling i)."""
        origin = position * self.down + self.crop_before
        return [
            (k, (origin - k) // self.up)
            for k in range(origin % self.up, self.kernel, self.up)
            if 0 <= origin - k <= (self.size - 1) * self.up
        ]

    @cached_property
    def table(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """`taps` of every output position."""
        return tuple(tuple(self.taps(y)) for y in range(self.output))

    @property
    def phases(self) -> int:
        """Distinct tap patterns: output positions this far apart use the same taps."""
        return self.up // math.gcd(self.up, self.down)

    @property
    def pitch(self) -> int:
        """Input distance of the same tap between two consecutive positions of one phase."""
        return self.down // math.gcd(self.up, self.down)

    def pairs(self, k: int) -> tuple[slice, slice] | None:
        """Input and output slices that tap `k` connects, or None when it connects nothing."""
        found = [(y, i) for y, taps in enumerate(self.table) for kk, i in taps if kk == k]
        if not found:
            return None
        (y0, i0), (y1, i1) = found[0], found[-1]
        return slice(i0, i1 + 1, self.pitch), slice(y0, y1 + 1, self.phases)

    @cached_property
    def uses(self) -> np.ndarray:
        """Positions that have each tap, int64 (kernel,)."""
        return np.bincount([k for taps in self.table for k, _ in taps], minlength=self.kernel)

    @property
    def tap_count(self) -> int:
        """(position, tap) pairs that exist."""
        return sum(map(len, self.table))
