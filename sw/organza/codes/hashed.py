"""Hashed weights (HashedNets): hashes of its place choose the bucket and sign of a weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from organza.codes.code import Code, by_channel, channel_power, no_options
from organza.codes.linear import Linear
from organza.codes.serial import Serial
from organza.codes.xxhash import MASK, xxh32_pairs

BITS = 8  # of a bucket
SEED_BITS = 32


def places(size: tuple[int, ...], buckets: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bucket (0…) and sign (±1) of every weight of a tensor (ci, co // groups, ky, kx), int64.

    The key of a weight is its place in the tensor as a matrix of ci rows, 8 bytes (row, column)
    little endian. Bucket = (xxHash32(key, seed) · buckets) >> 32. Sign: - where the highest bit of
    xxHash32(key, ~seed) is set.
    """
    rows = np.arange(size[0])[:, None]
    columns = np.arange(int(np.prod(size[1:])))[None]
    index = (xxh32_pairs(rows, columns, seed) * np.uint64(buckets)) >> np.uint64(32)
    negative = xxh32_pairs(rows, columns, seed ^ MASK) >> np.uint64(31)
    return index.astype(np.int64).reshape(size), 1 - 2 * negative.astype(np.int64).reshape(size)


@dataclass(frozen=True, eq=False)
class Hashed(Serial):
    """Weights that share a few buckets; the lanes get them as linear ones of 8 bits.

    Parameters
    ----------
    buckets : 1…2**24 integers within ±127. size : (ci, co // groups, ky, kx).
    seed : of the hash, 0…2**32 - 1; layers with different seeds share in different ways.

    Raises
    ------
    TypeError : buckets, sizes or a seed that are not integers.
    ValueError : buckets of a wrong shape or out of range; a size or seed out of range.
    """

    buckets: np.ndarray
    size: tuple[int, int, int, int]
    seed: int = 0

    kind = "hashed"
    loads = True

    def __post_init__(self) -> None:
        buckets = np.asarray(self.buckets)
        if not np.issubdtype(buckets.dtype, np.integer):
            raise TypeError(f"Hashed buckets must be integers, not {buckets.dtype}")
        if buckets.ndim != 1 or not 1 <= len(buckets) <= 1 << 24:
            raise ValueError(f"Hashed must have 1 to 2**24 buckets, not {buckets.shape}")
        if np.abs(buckets.astype(np.int64)).max() > 127:
            raise ValueError("Hashed buckets must be within ±127")
        size = tuple(self.size)
        for name, value in (("seed", self.seed), *(("size", side) for side in size)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Hashed {name} must be an integer, not {value!r}")
        if not 0 <= self.seed < 1 << SEED_BITS:
            raise ValueError(f"Hashed seed must be between 0 and 2**32 - 1, not {self.seed}")
        if len(size) != 4 or min(size) < 1 or np.prod(size, dtype=object) >= 1 << 32:
            raise ValueError(f"Hashed size must be (ci, co/groups, ky, kx), not {size}")
        object.__setattr__(self, "buckets", buckets.astype(np.int64))
        object.__setattr__(self, "size", size)

    @cached_property
    def inner(self) -> Code:  # type: ignore[override]
        index, sign = places(self.size, len(self.buckets), self.seed)
        return Linear(sign * self.buckets[index], BITS)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.size

    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        return BITS * len(self.buckets)

    @property
    def stored_bits(self) -> int:
        return BITS * len(self.buckets) + self.table_bits

    @property
    def table_bits(self) -> int:
        return SEED_BITS

    def parameters(self) -> dict[str, Any]:
        return {"size": list(self.size), "seed": self.seed}

    @property
    def fixed(self) -> dict[str, Any]:
        return {**self.parameters(), "buckets": len(self.buckets)}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"buckets": self.buckets.astype(np.int8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """Buckets of least squared error: the mean of their signed weights, each output channel
        scaled by its deviation and each input channel counted by its power.

        Options: `factor`, weights a bucket (8 by default); `seed` (0 by default).
        """
        factor, seed = options.pop("factor", 8), options.pop("seed", 0)
        no_options("hashed", options)
        if factor < 1:
            raise ValueError(f"hashed factor must be at least 1, not {factor}")
        number = -(-weights.size // factor)
        index, sign = (by_channel(part, groups) for part in places(weights.shape, number, seed))
        rows, cost = by_channel(weights, groups), channel_power(power, weights.shape, groups)
        unit = np.sqrt((rows**2).mean(1))[:, None]
        # weight ≈ sign · bucket · unit, so a bucket's best value is a weighted mean.
        total = np.bincount(index.ravel(), (cost * unit * sign * rows).ravel(), number)
        share = np.bincount(index.ravel(), (cost * unit**2 * np.ones_like(rows)).ravel(), number)
        values = np.where(share > 0, total / np.where(share > 0, share, 1), 0)
        step = np.abs(values).max() / 127 or 1.0
        code = cls(np.round(values / step).astype(np.int64), weights.shape, seed)
        return code, unit[:, 0] * step
