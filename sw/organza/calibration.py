"""Scales of activations and weights from samples."""

from __future__ import annotations

import numpy as np

from organza.formats import Fixed

METHODS = ("mse", "percentile", "max")
PERCENTILE = 99.99
# Enough for a stable error estimate, few enough to try every scale on.
_SAMPLES = 1 << 17


def activation_scale(values: np.ndarray, fmt: Fixed, method: str) -> float:
    """Scale for `values` (any shape) in the bits and sign of `fmt`; 1 for constant zero.

    "max": nothing clips. "percentile": 0.01 % of the magnitudes clip. "mse": the clipping, at 40 %
    to 100 % of the largest magnitude, with the least squared error of rounding and clipping
    together.

    Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"calibration must be one of {', '.join(METHODS)}, not {method!r}")
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    top = float(np.abs(flat).max())
    if top == 0:
        return 1.0
    if method == "max":
        return top / fmt.high
    if method == "percentile":
        return (float(np.percentile(np.abs(flat), PERCENTILE)) or top) / fmt.high
    # A stride that is odd does not fall into step with even rows and channels.
    sample = flat[:: max(1, len(flat) // _SAMPLES) | 1]
    best, chosen = np.inf, top / fmt.high
    for fraction in np.linspace(1.0, 0.4, 31):
        scale = top * float(fraction) / fmt.high
        rounded = np.clip(np.floor(sample / scale + 0.5), fmt.low, fmt.high) * scale
        error = float(((rounded - sample) ** 2).mean())
        if error < best:
            best, chosen = error, scale
    return chosen


def weight_scales(weights: np.ndarray, groups: int, bits: int, power: np.ndarray) -> np.ndarray:
    """Symmetric scale per output channel, (co,), of `weights` [ci, co // groups, ky, kx]; 0 without
    any.

    The scale minimises the squared error, each weight's counted with the mean square `power` (ci,)
    of the input channel it multiplies.
    """
    ci, cog, ky, kx = weights.shape
    top = (1 << (bits - 1)) - 1
    grouped = weights.reshape(groups, ci // groups, cog, ky * kx)
    rows = grouped.transpose(0, 2, 1, 3).reshape(groups * cog, -1)
    importance = np.repeat(power.reshape(groups, 1, -1, 1), cog, axis=1) + 1e-12
    importance = np.broadcast_to(importance, (groups, cog, ci // groups, ky * kx))
    importance = importance.reshape(rows.shape)
    peak = np.abs(rows).max(1)
    best = np.full(len(rows), np.inf)
    chosen = peak / top
    # Few bits want much clipping, eight hardly any.
    for fraction in np.linspace(0.3 if bits < 6 else 0.7, 1.0, 36):
        scale = np.where(peak > 0, peak * fraction / top, 1)[:, None]
        rounded = np.clip(np.round(rows / scale), -top, top) * scale
        error = (importance * (rounded - rows) ** 2).sum(1)
        better = error < best
        best = np.where(better, error, best)
        chosen = np.where(better & (peak > 0), scale[:, 0], chosen)
    return chosen
