"""A generator after folding: layers of one linear operation and one activation, in floats."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code
from organza.codes.spec import CodeSpec
from organza.formats import Format
from organza.geometry import Axis
from organza.graph import Activation, Norm


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """A code that training has chosen: weights = code.integers() * scales, one scale for every output channel.

    spec : what asks for this code, with the bits of the layer's input if they matter. Scales (co,) are not zero; batch
    normalisation may have made them negative.
    """

    code: Code
    scales: np.ndarray
    spec: CodeSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatLayer:
    """One linear operation and one activation, in the convention of `Convolve`.

    weights : float64 [ci, co // groups, ky, kx].
    bias : float64 (co,).
    y, x : vertical and horizontal `Axis`.
    activation : slopes are (1,) or (co,).
    passthrough : whether every output is one of the inputs, so that formats carry over unchanged.
    norm : batch normalisation between sums and activation, None if there is none or it is folded.
    coded : the code that the weights are to have, None to choose one after training.
    output : the format that training has given to the results, None to calibrate one. bits : of a calibrated
    one, None for 8.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    y: Axis
    x: Axis
    groups: int = 1
    activation: Activation = dataclasses.field(default_factory=Activation)
    passthrough: bool = False
    norm: Norm | None = None
    coded: Coded | None = None
    output: Format | None = None
    bits: int | None = None

    @property
    def co(self) -> int:
        """Output channels."""
        return len(self.bias)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(ci, height, width)"""
        return self.weights.shape[0], self.y.size, self.x.size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(co, height, width)"""
        return self.co, self.y.output, self.x.output

    @property
    def macs(self) -> int:
        """Multiplications of an image that meet a real input and a weight that is not 0."""
        return int(self.y.uses @ (self.weights != 0).sum((0, 1)) @ self.x.uses)

    @property
    def slopes(self) -> np.ndarray:
        """Slope for negative values, one entry per output channel."""
        return np.broadcast_to(self.activation.slope, (self.co,))

    def folded(self) -> FloatLayer:
        """The same layer with `norm` in weights, bias and the scales of the code."""
        if self.norm is None:
            return self
        scale = self.norm.scale
        coded = self.coded and dataclasses.replace(self.coded, scales=self.coded.scales * scale)
        return dataclasses.replace(
            self,
            weights=scale_outputs(self.weights, self.groups, scale),
            bias=self.bias * scale + self.norm.shift,
            norm=None,
            coded=coded,
        )


def scale_outputs(weights: np.ndarray, groups: int, factors: np.ndarray) -> np.ndarray:
    """Weights (ci, co // groups, ky, kx) times one of `factors` (co,) for every output channel."""
    ci, cog, ky, kx = weights.shape
    grouped = weights.reshape(groups, ci // groups, cog, ky, kx)
    return (grouped * factors.reshape(groups, 1, cog, 1, 1)).reshape(weights.shape)


def float_run(
    layers: list[FloatLayer], x: Tensor | np.ndarray, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The folded model in floating point: (N, co, height, width) of inputs (N, ...)."""
    value = torch.as_tensor(x).to(dtype)
    value = value.reshape(len(value), *layers[0].input_shape)
    with torch.no_grad():
        for layer in (layer.folded() for layer in layers):
            value = activate(layer, linear(layer, value))
    return value


def linear(layer: FloatLayer, x: Tensor) -> Tensor:
    """Sums before the activation, (N, co, height, width), of `x` (N, ci, height, width)."""
    weights = torch.from_numpy(np.ascontiguousarray(layer.weights)).to(x)
    axes = layer.y, layer.x
    full = torch.nn.functional.conv_transpose2d(
        x, weights, stride=(axes[0].up, axes[1].up), groups=layer.groups
    )
    # Positions that negative crops append hold the bias alone.
    pads = [max(0, -c) for axis in (axes[1], axes[0]) for c in (axis.crop_before, axis.crop_after)]
    full = torch.nn.functional.pad(full, pads)
    rows, columns = (
        slice(max(0, axis.crop_before), max(0, axis.crop_before) + axis.full, axis.down)
        for axis in axes
    )
    return full[:, :, rows, columns] + torch.from_numpy(layer.bias).to(x)[:, None, None]


def activate(layer: FloatLayer, v: Tensor) -> Tensor:
    """The activation of sums `v` (N, co, height, width)."""
    if layer.activation.kind != "slope":
        return torch.tanh(v) if layer.activation.kind == "tanh" else torch.sigmoid(v)
    slopes = torch.from_numpy(layer.slopes.copy()).to(v)[:, None, None]
    return torch.where(v >= 0, v, v * slopes)
