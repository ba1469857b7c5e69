"""Centroids after the tanh law: tanh maps them to equal steps, so that small weights have the finer ones.

DoReFa-Net (Zhou et al., arXiv:1606.06160, equation 9) rounds tanh(w) / max|tanh(w)| to equal steps. A codebook of the weights
that have those steps as their tanh needs no tanh on the chip.
"""

from __future__ import annotations

import numpy as np

from organza.checks import check_integer

# What the largest weight of a channel may be as argument of tanh: nearly equal steps at first, very fine small ones at last.
STEEPNESS = np.geomspace(0.1, 4, 33)
BITS = 4


def tanh_centroids(bits: int, steepness: float) -> np.ndarray:
    """Up to 2**bits ascending integers in -127…127, int64: atanh of equal steps, where the largest is tanh(steepness).

    Steps that round to the same integer are one centroid. Raises ValueError for bits that are not 1…8.
    """
    check_integer("tanh bits", bits, 1, 8)
    return np.unique(tanh_steps(1 << bits, steepness))


def tanh_steps(count: int, steepness: float) -> np.ndarray:
    """`count` ≥ 2 integers in -127…127, int64, some of them perhaps equal: atanh of equal steps, as `tanh_centroids`."""
    steps = np.arange(1 - count, count, 2) / (count - 1) * np.tanh(steepness)
    return np.rint(127 * np.arctanh(steps) / steepness).astype(np.int64)


def fit_tanh(rows: np.ndarray, cost: np.ndarray, bits: int = BITS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices, centroids and scales of `rows` (co, n) with the least squared error, each error times `cost` (co, n).

    One steepness for the layer, one scale for every row.
    """
    peak = np.abs(rows).max(1)
    start = peak / 127
    unit = rows / np.where(start > 0, start, 1)[:, None]
    best = None
    for steepness in STEEPNESS:
        centroids = tanh_centroids(bits, float(steepness))
        indices = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, unit, side="right")
        chosen = centroids[indices]
        square = (cost * chosen**2).sum(1)
        scales = np.where(square > 0, (cost * rows * chosen).sum(1) / np.where(square > 0, square, 1), start)
        error = float((cost * (rows - scales[:, None] * chosen) ** 2).sum())
        if best is None or error < best[0]:
            best = error, indices, centroids, scales
    assert best is not None
    return best[1:]
