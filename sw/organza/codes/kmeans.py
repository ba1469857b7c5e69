"""k-means of numbers on a line: once they are sorted, a step is a search for every edge between clusters."""

from __future__ import annotations

import numpy as np

STEPS = 300


def lloyd(values: np.ndarray, count: int, steps: int = STEPS) -> np.ndarray:
    """Ascending centroids, float64 (count,), of `values` in a row.

    Start: equal steps from the smallest to the largest value (Han et al., Deep Compression, ICLR 2016). A cluster
    without members keeps its centroid. Ends when no member changes, or after `steps`.
    """
    values = np.sort(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centroids = np.linspace(values[0], values[-1], count) if len(values) else np.zeros(count)
    ends = None
    for _ in range(steps):
        cuts = np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2, side="left")
        found = np.concatenate([[0], cuts, [len(values)]])
        if ends is not None and (found == ends).all():
            break
        ends = found
        amounts = np.diff(ends)
        centroids = np.where(amounts > 0, np.diff(sums[ends]) / np.maximum(amounts, 1), centroids)
    return centroids
