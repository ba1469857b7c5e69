"""Identities that make one layer of two, and the layers that only move values.

A nearest-neighbour upsampling by r is a transposed convolution with a kernel of r ones and stride
r, so it composes with the convolution after it: for r = 2 the kernel [w0, w1, w2] becomes [w2,
w1+w2, w0+w1, w0] with stride 2. A convolution before a PixelShuffle(r) is a transposed convolution
whose kernel interleaves those of the r² phases; a Linear viewed as a map is one whose kernel is the
map. All in float64.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from organza.float_layers import FloatLayer
from organza.geometry import Axis


def compose_upsample(layer: FloatLayer, factors: tuple[int, int]) -> FloatLayer:
    """`layer` reading a map before nearest upsampling by `factors`, instead of the upsampled one.

    Per axis: kernel convolved with r ones spread by `up`, and up·r; crops and down stay.
    """
    ky, kx = (_spread(r, axis.up) for r, axis in zip(factors, (layer.y, layer.x), strict=True))
    weights = np.zeros(
        (
            *layer.weights.shape[:2],
            layer.y.kernel + len(ky) - 1,
            layer.x.kernel + len(kx) - 1,
        )
    )
    for j in np.flatnonzero(ky):
        for i in np.flatnonzero(kx):
            weights[:, :, j : j + layer.y.kernel, i : i + layer.x.kernel] += layer.weights
    y, x = (
        dataclasses.replace(axis, size=axis.size // r, kernel=k, up=axis.up * r)
        for axis, r, k in zip((layer.y, layer.x), factors, weights.shape[2:], strict=True)
    )
    return dataclasses.replace(layer, weights=weights, y=y, x=x)


def _spread(ones: int, pitch: int) -> np.ndarray:
    kernel = np.zeros((ones - 1) * pitch + 1)
    kernel[::pitch] = 1
    return kernel


def compose_shuffle(layer: FloatLayer, r: int) -> FloatLayer:
    """`layer` and the PixelShuffle(r) after it as one; needs down = 1, co/groups a multiple of r².

    Per axis: tap k of phase a becomes tap r·k + a; up, kernel and crops are multiplied by r.
    """
    ci, cog, ky, kx = layer.weights.shape
    # [ci, c, a, b, ky, kx] -> [ci, c, (ky, a), (kx, b)]
    weights = layer.weights.reshape(ci, cog // r**2, r, r, ky, kx).transpose(0, 1, 4, 2, 5, 3)
    phases = layer.bias.reshape(-1, r * r)
    y, x = (
        Axis(
            size=axis.size,
            kernel=axis.kernel * r,
            up=axis.up * r,
            crop_before=axis.crop_before * r,
            crop_after=axis.crop_after * r,
        )
        for axis in (layer.y, layer.x)
    )
    return dataclasses.replace(
        layer, weights=weights.reshape(ci, cog // r**2, ky * r, kx * r), bias=phases[:, 0], y=y, x=x
    )


def expand_features(layer: FloatLayer, shape: tuple[int, int, int]) -> FloatLayer:
    """A layer from and to 1×1 maps, whose features are then viewed as `shape`, as one layer."""
    c, h, w = shape
    weights = layer.weights.reshape(-1, c, h, w)
    y, x = (Axis(size=1, kernel=n) for n in (h, w))
    return dataclasses.replace(
        layer, weights=weights, bias=layer.bias.reshape(c, -1)[:, 0], y=y, x=x
    )


def gather_features(layer: FloatLayer, shape: tuple[int, int, int]) -> FloatLayer:
    """A layer on features that are a flattened map of `shape`, as one layer on that map."""
    c, h, w = shape
    weights = layer.weights.reshape(c, h, w, -1).transpose(0, 3, 1, 2)[..., ::-1, ::-1]
    y, x = (Axis(size=n, kernel=n, crop_before=n - 1, crop_after=n - 1) for n in (h, w))
    return dataclasses.replace(layer, weights=weights, y=y, x=x)


def repeat_layer(name: str, shape: tuple[int, int, int], factors: tuple[int, int]) -> FloatLayer:
    """Nearest upsampling of a map of `shape` by `factors`, as a layer of its own."""
    c, h, w = shape
    y, x = (Axis(size=n, kernel=r, up=r) for n, r in zip((h, w), factors, strict=True))
    return _moves(name, np.ones((c, 1, *factors)), c, y, x)


def shuffle_layer(name: str, shape: tuple[int, int, int], r: int) -> FloatLayer:
    """PixelShuffle(r) of a map of `shape` as a layer: one-hot taps, a group per channel."""
    c, h, w = shape
    y, x = (Axis(size=n, kernel=r, up=r) for n in (h, w))
    weights = np.tile(np.eye(r * r).reshape(r * r, 1, r, r), (c // r**2, 1, 1, 1))
    return _moves(name, weights, c // r**2, y, x)


def view_layer(name: str, shape: tuple[int, int, int]) -> FloatLayer:
    """Features viewed as a map of `shape` as a layer: one-hot taps, a group per channel."""
    c, h, w = shape
    y, x = (Axis(size=1, kernel=n) for n in (h, w))
    return _moves(name, np.tile(np.eye(h * w).reshape(h * w, 1, h, w), (c, 1, 1, 1)), c, y, x)


def _moves(name: str, weights: np.ndarray, channels: int, y: Axis, x: Axis) -> FloatLayer:
    return FloatLayer(
        name=name,
        weights=weights,
        bias=np.zeros(channels),
        y=y,
        x=x,
        groups=channels,
        passthrough=True,
    )
