"""The line alpha · z + beta of least squared error through weights on levels z: QGAN's expectation maximisation.

Wang et al., QGAN, arXiv:1901.08263 (best reading of the abstract and of a survey). E-step: the nearest level for every
weight. M-step: the least-squares line for these levels. Neither can raise the squared error.
"""

from __future__ import annotations

import numpy as np

STEPS = 100


def nearest_levels(w: np.ndarray, alpha: float, beta: float, top: int) -> np.ndarray:
    """Nearest of the levels 0…top of the line, as floats."""
    return np.clip(np.round((w - beta) / alpha), 0, top)


def mean_error(w: np.ndarray, alpha: float, beta: float, top: int) -> float:
    """Mean squared distance of weights from the nearest level of the line."""
    return float(((alpha * nearest_levels(w, alpha, beta, top) + beta - w) ** 2).mean())


def fit_line(w: np.ndarray, alpha: float, beta: float, top: int, steps: int = STEPS) -> tuple[float, float, float]:
    """(mean squared error, alpha, beta) after at most `steps` steps from a line, fewer where the error stays."""
    best = (np.inf, alpha, beta)
    for step in range(steps + 1):
        z = nearest_levels(w, alpha, beta, top)
        error = float(((alpha * z + beta - w) ** 2).mean())
        if error >= best[0] * (1 - 1e-7):
            break
        best = (error, alpha, beta)
        variance = float(z.var())
        if variance == 0 or step == steps:  # all weights on one level: any line through it fits
            break
        alpha = float(((w * z).mean() - w.mean() * z.mean()) / variance) or alpha
        beta = float(w.mean() - alpha * z.mean())
    return best


def range_line(w: np.ndarray, top: int) -> tuple[float, float]:
    """(alpha, beta) from the smallest weight to the largest: min-max quantisation."""
    low, high = float(w.min()), float(w.max())
    return (high - low) / top or abs(low) or 1.0, low


def best_line(w: np.ndarray, top: int) -> tuple[float, float, float]:
    """`fit_line` to its end from the weights' range and, better for few bits, from two deviations around their mean."""
    mean, deviation = float(w.mean()), float(w.std())
    starts = [range_line(w, top), (4 * deviation / top or abs(mean) or 1.0, mean - 2 * deviation)]
    return min(fit_line(w, alpha, beta, top) for alpha, beta in starts)
