"""Which weights stay: the most important of a layer, or of every unit that a sparse lane word
serves."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def prune(importance: np.ndarray, groups: int, percent: int, block: int | None) -> np.ndarray:
    """`keep` of 100 - `percent` % of the weights.

    Raises TypeError / ValueError for a percentage that is not an integer from 0 to 99.
    """
    if isinstance(percent, bool) or not isinstance(percent, int):
        raise TypeError(f"sparsity must be an integer, not {percent!r}")
    if not 0 <= percent <= 99:
        raise ValueError(f"sparsity must be between 0 and 99 percent, not {percent}")
    return keep(importance, groups, Fraction(100 - percent, 100), block)


def keep(importance: np.ndarray, groups: int, share: Fraction | float, block: int | None) -> np.ndarray:
    """Mask of the most important weights, shape of `importance` (ci, co // groups, ky, kx); ties
    keep the first.

    `block` None keeps a `share` of the layer. Otherwise every (output channel, tap, block
    of that many input channels of a group) keeps its share. Counts are rounded half up, and are at least one.
    """

    def kept(count: int) -> int:
        return max(int(count * Fraction(share) + Fraction(1, 2)), 1)

    if block is None:
        order = np.argsort(-importance.reshape(-1), kind="stable")
        mask = np.zeros(importance.size, bool)
        mask[order[: kept(importance.size)]] = True
        return mask.reshape(importance.shape)
    ci, cog, ky, kx = importance.shape
    rows = importance.reshape(groups, ci // groups, cog, ky, kx)
    mask = np.zeros(rows.shape, bool)
    for first in range(0, ci // groups, block):
        part = rows[:, first : first + block]
        rank = np.argsort(np.argsort(-part, axis=1, kind="stable"), axis=1)
        mask[:, first : first + block] = rank < kept(part.shape[1])
    return mask.reshape(importance.shape)
