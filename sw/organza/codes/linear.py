"""Plain two's complement weights of 2 to 16 bits, one lane word read per cycle in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Linear:
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

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights)
        if not np.issubdtype(weights.dtype, np.integer):
            raise TypeError(f"Linear weights must be integers, not {weights.dtype}")
        if isinstance(self.bits, bool) or not isinstance(self.bits, int):
            raise TypeError(f"Linear bits must be an integer, not {self.bits!r}")
        if not 2 <= self.bits <= 16:
            raise ValueError(f"Linear bits must be between 2 and 16, not {self.bits}")
        if weights.ndim != 4 or not weights.size:
            raise ValueError(f"Linear weights must have shape (ci, co/groups, ky, kx), not {weights.shape}")
        bound = (1 << (self.bits - 1)) - 1
        if np.abs(weights.astype(np.int64)).max() > bound:
            raise ValueError(f"Linear weights of {self.bits} bits must be within ±{bound}")
        object.__setattr__(self, "weights", weights.astype(np.int64))

    def integers(self) -> np.ndarray:
        """Dense integer weights, int64, shape (ci, co // groups, ky, kx)."""
        return self.weights

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(ci, co // groups, ky, kx)"""
        ci, co, ky, kx = self.weights.shape
        return ci, co, ky, kx

    @property
    def stored_bits(self) -> int:
        """Bits that the chip must hold for the weights."""
        return self.weights.size * self.bits

    def words(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Memory image for Ti × To lanes: int64 (words, to, ti), zero where a tile is not full.

        Word address = ((group * co tiles + co tile) * ky * kx + tap) * ci tiles + ci tile.
        """
        ci, cog, ky, kx = self.weights.shape
        cig = ci // groups
        nti, nto = -(-cig // ti), -(-cog // to)
        w = self.weights.reshape(groups, cig, cog, ky * kx)
        w = np.pad(w, ((0, 0), (0, nti * ti - cig), (0, nto * to - cog), (0, 0)))
        w = w.reshape(groups, nti, ti, nto, to, ky * kx).transpose(0, 3, 5, 1, 4, 2)
        return np.ascontiguousarray(w.reshape(-1, to, ti))
