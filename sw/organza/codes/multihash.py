"""Structured multi-hashing: all weights of a layer are the product of two small factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np

from organza.codes.code import Code, by_channel, from_channels, no_options
from organza.codes.linear import Linear
from organza.codes.serial import Serial

BITS = 8  # of a factor's entry and of a weight
TOP = 127
SHIFT_BITS = 5


@dataclass(frozen=True, eq=False)
class MultiHash(Serial):
    """Weight number k, in the row-major order of the tensor, is entry (k // n, k mod n) of a
    product.

    weight = clamp((left[k // n] · right[:, k mod n] + half) >> shift, -127, 127) with an arithmetic
    shift and half = 2**(shift - 1), 0 for shift 0: half up, once. n is the root of the number of
    weights, rounded up. The lanes get linear weights of 8 bits.

    Parameters
    ----------
    left : (n, m), right : (m, n), integers within ±127, 1 ≤ m ≤ 2**12. shift : 0…31.
    size : (ci, co // groups, ky, kx).

    Raises
    ------
    TypeError : factors, sizes or a shift that are not integers.
    ValueError : factors of a wrong shape or out of range; a size or shift out of range.
    """

    left: np.ndarray
    right: np.ndarray
    size: tuple[int, int, int, int]
    shift: int

    kind = "multihash"
    loads = True

    def __post_init__(self) -> None:
        size = tuple(self.size)
        for name, value in (("shift", self.shift), *(("size", side) for side in size)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"MultiHash {name} must be an integer, not {value!r}")
        if not 0 <= self.shift < 1 << SHIFT_BITS:
            raise ValueError(f"MultiHash shift must be between 0 and 31, not {self.shift}")
        if len(size) != 4 or min(size) < 1 or np.prod(size, dtype=object) >= 1 << 32:
            raise ValueError(f"MultiHash size must be (ci, co/groups, ky, kx), not {size}")
        n = side_of(size)
        factors = np.asarray(self.left), np.asarray(self.right)
        for name, factor in zip(("left", "right"), factors, strict=True):
            if not np.issubdtype(factor.dtype, np.integer):
                raise TypeError(f"MultiHash {name} must be integers, not {factor.dtype}")
            if factor.size and np.abs(factor.astype(np.int64)).max() > TOP:
                raise ValueError(f"MultiHash {name} must be within ±{TOP}")
        left, right = (factor.astype(np.int64) for factor in factors)
        m = left.shape[-1]
        if (left.shape, right.shape) != ((n, m), (m, n)) or not 1 <= m <= 1 << 12:
            raise ValueError(
                f"MultiHash factors must be ({n}, m) and (m, {n}), not {left.shape} and {right.shape}"
            )
        for name, value in (("left", left), ("right", right), ("size", size)):
            object.__setattr__(self, name, value)

    @cached_property
    def inner(self) -> Code:  # type: ignore[override]
        sums = (self.left @ self.right).reshape(-1)[: np.prod(self.size)].reshape(self.size)
        weights = (sums + (1 << self.shift >> 1)) >> self.shift
        return Linear(np.clip(weights, -TOP, TOP), BITS)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.size

    @property
    def terms(self) -> int:
        """m, products of a weight."""
        return self.left.shape[1]

    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        return BITS * (self.left.size + self.right.size)

    @property
    def stored_bits(self) -> int:
        return self.image_bits(1, 1, 1) + self.table_bits

    @property
    def table_bits(self) -> int:
        return SHIFT_BITS

    def parameters(self) -> dict[str, Any]:
        return {"size": list(self.size), "shift": self.shift}

    @property
    def fixed(self) -> dict[str, Any]:
        return {**self.parameters(), "terms": self.terms}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"left": self.left.astype(np.int8), "right": self.right.astype(np.int8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """Truncated singular value decomposition of the weights, each output channel scaled by its
        deviation. Option `factor`, 8 by default: how many times fewer numbers than weights."""
        factor = options.pop("factor", 8)
        no_options("multihash", options)
        if factor < 1:
            raise ValueError(f"multihash factor must be at least 1, not {factor}")
        rows = by_channel(weights, groups)
        unit = np.sqrt((rows**2).mean(1))
        scaled = from_channels(rows / np.where(unit > 0, unit, 1)[:, None], weights.shape, groups)
        parts, step = [], 1.0
        for part in truncated(scaled, terms_of(weights.shape, factor)):
            scale = np.abs(part).max() / TOP or 1.0
            parts.append(np.round(part / scale).astype(np.int64))
            step *= scale
        left, right = parts
        shift = shift_of(left @ right)
        return cls(left, right, weights.shape, shift), unit * step * 2**shift


def side_of(size: tuple[int, ...]) -> int:
    """n, side of the product that holds all weights."""
    return isqrt(int(np.prod(size)) - 1) + 1


def terms_of(size: tuple[int, ...], factor: int) -> int:
    """m, for `factor` times fewer numbers than weights."""
    n = side_of(size)
    return min(max(1, -(-int(np.prod(size)) // (2 * n * factor))), n, 1 << 12)


def truncated(weights: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors (n, m) and (m, n) of least squared error for weights of any shape: the m largest singular values."""
    n = side_of(weights.shape)
    matrix = np.zeros(n * n)
    matrix[: weights.size] = weights.reshape(-1)
    u, s, v = np.linalg.svd(matrix.reshape(n, n), full_matrices=False)
    root = np.sqrt(s[:m])
    return u[:, :m] * root, root[:, None] * v[:m]


def shift_of(products: np.ndarray) -> int:
    """The largest shift that leaves the largest of integer `products` its 8 bits: more only loses accuracy."""
    return max(int(np.abs(products).max()) // TOP, 1).bit_length() - 1
