"""The tensor between two layers: its scale, and how its channels share that scale.

A positive factor on a channel passes through ReLU, LeakyReLU and PReLU, so it can move from the
weights of one layer to those of the next without changing the function (cross-layer equalisation).
Factors are chosen by trying: the next layer's results are computed from rounded values and rounded
weights. Only a clear gain counts, as networks give whose channels differ by orders of magnitude.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from organza.calibration import activation_scale, weight_scales
from organza.float_layers import FloatLayer, activate, linear
from organza.formats import Fixed

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Multiply-accumulates that one trial may cost.
_TRIAL_MACS = 100_000_000
_MAX_IMAGES = 48
_CLEAR_GAIN = 0.5


def equalise(
    layer: FloatLayer,
    following: FloatLayer,
    values: np.ndarray,
    fmt: Fixed,
    *,
    weight_bits: int,
    calibration: str,
) -> tuple[np.ndarray, float]:
    """Channel factors (co,) and the scale of the tensor between `layer` and `following`.

    `values` (N, co, height, width) are the results of `layer`; the factors apply to them. `fmt`
    gives bits and sign. The activation of `layer` must be a slope.
    """
    y, x = following.y, following.x
    macs = following.weights[:, :, 0, 0].size * y.tap_count * x.tap_count
    images = int(np.clip(_TRIAL_MACS // max(macs, 1), 2, _MAX_IMAGES))
    sample = values[:images].astype(np.float32)
    target = activate(following, linear(following, torch.from_numpy(sample))).numpy()
    best, chosen, scale = np.inf, np.ones(layer.co), 1.0
    for index, factors in enumerate(_candidates(layer, following, values)):
        step = activation_scale(values * factors[:, None, None], fmt, calibration)
        q = dataclasses.replace(fmt, scale=step).quantize(sample * factors[:, None, None])
        power = ((q * step) ** 2).mean((0, 2, 3))
        weights = following.weights / factors[:, None, None, None]
        codes = _rounded(weights, following.groups, weight_bits, power)
        trial = dataclasses.replace(following, weights=codes)
        made = torch.from_numpy((q * step).astype(np.float32))
        got = activate(trial, linear(trial, made)).numpy()
        error = float(((got - target) ** 2).mean(dtype=np.float64))
        if error < best:
            # Well-balanced channels gain nothing, and small differences are noise of the sample.
            best = error * _CLEAR_GAIN if index == 0 else error
            chosen, scale = factors, step
    return chosen, scale


def _candidates(layer: FloatLayer, following: FloatLayer, values: np.ndarray) -> list[np.ndarray]:
    """Factors to try; all 1 comes first and wins ties."""
    ones = np.ones(layer.co)
    if layer.passthrough or following.passthrough or following.coded:  # what training has chosen stays
        return [ones]
    peak = np.abs(values).max((0, 2, 3)).astype(np.float64)
    weight = np.abs(following.weights).max((1, 2, 3))
    alive = (peak > 0) & (weight > 0)
    if alive.sum() < 2:
        return [ones]
    found = [ones]
    for strength in STRENGTHS[1:]:
        factors = ones.copy()
        factors[alive] = (weight[alive] ** (1 - strength)) / peak[alive] ** strength
        factors[alive] /= np.exp(np.log(factors[alive]).mean())
        found.append(np.clip(factors, 2.0**-6, 2.0**6))
    return found


def _rounded(weights: np.ndarray, groups: int, bits: int, power: np.ndarray) -> np.ndarray:
    """Real values of the weights after rounding to their codes."""
    scales = weight_scales(weights, groups, bits, power)
    ci, cog, ky, kx = weights.shape
    step = np.where(scales > 0, scales, 1).reshape(groups, 1, cog, 1, 1)
    top = (1 << (bits - 1)) - 1
    grouped = weights.reshape(groups, ci // groups, cog, ky, kx)
    return (np.clip(np.round(grouped / step), -top, top) * step).reshape(weights.shape)
