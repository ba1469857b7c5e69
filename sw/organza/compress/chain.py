"""A generator as compression sees it: a chain of trainable layers in the convention of `Convolve`.

Whatever module the user brought, capture and fold have made one linear operation, one batch normalisation and one
activation of every layer. Stages change layers in place or put others there; `float_layers` hands the result to the
quantiser, codes that were trained included.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from organza.capture import capture
from organza.compress.activations import Grid
from organza.compress.coders.coder import Coder
from organza.compress.coders.uniform import UniformCoder
from organza.compress.storage import Storage
from organza.errors import UserError
from organza.float_layers import Coded, FloatLayer
from organza.fold import fold
from organza.geometry import Axis
from organza.graph import Activation, Norm


def convolve(x: Tensor, weight: Tensor, y: Axis, horizontal: Axis, groups: int) -> Tensor:
    """Sums (N, co, height, width) of `x` (N, ci, height, width) with weights (ci, co // groups, ky, kx); with gradients."""
    axes = y, horizontal
    padding = tuple(axis.crop_before for axis in axes)
    extra = tuple(axis.crop_before - axis.crop_after for axis in axes)
    plain = all(axis.down == 1 and p >= 0 and 0 <= e < axis.up for axis, p, e in zip(axes, padding, extra, strict=True))
    strides = tuple(axis.up for axis in axes)
    if plain and min(strides) > 0:
        return F.conv_transpose2d(_channels_last(x), _channels_last(weight), None, strides, padding, extra, groups)
    if all(axis.up == 1 for axis in axes) and groups == 1:
        pads = [(axis.kernel - 1 - axis.crop_before, axis.kernel - 1 - axis.crop_after) for axis in axes]
        inside = tuple(before if before == after and before > 0 else 0 for before, after in pads)
        outside = [end - kept for (before, after), kept in zip(reversed(pads), reversed(inside), strict=True) for end in (before, after)]
        if any(outside):
            x = F.pad(x, outside)
        kernel = weight.transpose(0, 1).flip(2, 3)
        return F.conv2d(_channels_last(x), _channels_last(kernel), None, tuple(axis.down for axis in axes), inside)
    full = F.conv_transpose2d(x, weight, None, strides, groups=groups)
    full = F.pad(full, [max(0, -c) for axis in reversed(axes) for c in (axis.crop_before, axis.crop_after)])
    rows, columns = (
        slice(max(0, axis.crop_before), max(0, axis.crop_before) + axis.full, axis.down) for axis in axes
    )
    return full[:, :, rows, columns]


def _channels_last(x: Tensor) -> Tensor:
    """The same with channels next to each other in memory: PyTorch's convolutions are up to four times as fast on a CPU."""
    return x.contiguous(memory_format=torch.channels_last)


class ChainLayer(nn.Module):
    """One layer: weights, batch normalisation, activation, and what compression has done to them.

    weight : (ci, co // groups, ky, kx), None where a coder makes the weights of its own parameters.
    mask : bool like the weights, True keeps one; None keeps all. coder : makes coded weights of the weights; None: floats.
    grid : rounds the results as the chip will; None: floats. storage : how the chip keeps the code. bits : that the
    results need at least, None for as many as usual.
    """

    weight: nn.Parameter | None
    mask: Tensor | None

    def __init__(self, layer: FloatLayer) -> None:
        super().__init__()
        self.name, self.y, self.x, self.groups = layer.name, layer.y, layer.x, layer.groups
        self.passthrough, self.kind = layer.passthrough, layer.activation.kind
        self.weight = nn.Parameter(torch.from_numpy(layer.weights).float(), requires_grad=not layer.passthrough)
        self.norm = None if layer.norm is None else _batch_norm(layer.norm, layer.bias)
        biased = self.norm is None and not layer.passthrough and bool(layer.bias.any())
        self.bias = nn.Parameter(torch.from_numpy(layer.bias).float()) if biased else None
        slopes = torch.from_numpy(layer.slopes.copy()).float()
        learned = self.kind == "slope" and not bool(((slopes == slopes[0]) | (slopes == 0) | (slopes == 1)).all())
        self.slopes = nn.Parameter(slopes, requires_grad=learned)
        self.register_buffer("mask", None)
        self.coder: Coder | None = None
        self.grid: Grid | None = None
        self.storage = Storage()
        self.bits = layer.bits

    @property
    def co(self) -> int:
        """Output channels."""
        return len(self.slopes)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights: (ci, co // groups, ky, kx)."""
        if self.weight is None:
            assert self.coder is not None
            return self.coder.shape
        ci, cog, ky, kx = self.weight.shape
        return ci, cog, ky, kx

    @property
    def unsigned(self) -> bool:
        """Whether the results are never negative."""
        return Activation(self.kind, self.slopes.detach().double().numpy()).unsigned

    def masked_weight(self) -> Tensor | None:
        """The weights without those that were pruned."""
        return self.weight if self.weight is None or self.mask is None else self.weight * self.mask

    def effective_weight(self) -> Tensor:
        """The weights that the layer computes with: masked, coded; differentiable."""
        weight = self.masked_weight()
        if self.coder is not None:
            weight = self.coder(weight, self.mask)
        assert weight is not None
        return weight

    def code_with(self, coder: Coder | None) -> None:
        """Train the weights in a code from now on; None: as floats again, what the code made of them.

        Raises ValueError for pruned weights and a code that has no zeros to give them.
        """
        if coder is not None and self.mask is not None and not coder.prunes:
            raise ValueError(f"code {coder.kind} must be for layers that are not pruned")
        with torch.no_grad():
            if coder is None and self.coder is not None:
                self.weight = nn.Parameter(self.effective_weight().clone())
            elif coder is not None:
                coder.refit(self.masked_weight(), self.mask)
                if coder.owns:
                    self.weight = None
        self.coder = coder

    def refit(self) -> None:
        """See `Coder.refit`."""
        if self.coder is not None:
            with torch.no_grad():
                self.coder.refit(self.masked_weight(), self.mask)

    def end_training(self) -> None:
        """See `Coder.finish`."""
        if self.coder is not None:
            self.coder.finish(self.masked_weight(), self.mask)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ci, height, width) to (N, co, height, width)."""
        return self.finish(self.sums(x))

    def sums(self, x: Tensor) -> Tensor:
        """Sums of products, (N, co, height, width)."""
        return convolve(x, self.effective_weight(), self.y, self.x, self.groups)

    def finish(self, v: Tensor) -> Tensor:
        """The results that belong to sums of products: bias, normalisation, activation, grid."""
        return self.activate(self.normalise(v))

    def normalise(self, v: Tensor) -> Tensor:
        """What reaches the activation: sums of products with bias and normalisation."""
        if self.bias is not None:
            v = v + self.bias[:, None, None]
        return v if self.norm is None else self.norm(v)

    def activate(self, v: Tensor) -> Tensor:
        """Activation and grid."""
        if self.kind == "slope":
            v = self._bend(v)
        else:
            v = torch.tanh(v) if self.kind == "tanh" else torch.sigmoid(v)
        return v if self.grid is None else self.grid(v)

    def _bend(self, v: Tensor) -> Tensor:
        """Slopes below zero; one for all channels, which is the usual case, takes a tenth of the time of many."""
        slope = self.slopes[0].item()
        if self.slopes.requires_grad or (self.slopes != slope).any():
            return F.prelu(v, self.slopes)
        return F.leaky_relu(v, slope)

    @torch.no_grad()
    def float_layer(self) -> FloatLayer:
        """What the quantiser takes, the trained code and format included; batch normalisation as in evaluation."""
        weight = self.effective_weight().double().numpy()
        bias = np.zeros(self.co) if self.bias is None else self.bias.double().numpy()
        return FloatLayer(
            name=self.name, weights=weight, bias=bias, y=self.y, x=self.x, groups=self.groups,
            activation=Activation(self.kind, self.slopes.double().numpy()), passthrough=self.passthrough,
            norm=None if self.norm is None else _frozen(self.norm),
            coded=self._coded(), output=None if self.grid is None else self.grid.format, bits=self.bits,
        )  # fmt: skip

    def _coded(self) -> Coded | None:
        """The code that the chip gets; pruned or specially stored weights that nobody coded have 8 bits."""
        coder = self.coder
        if coder is not None and not coder.chip:
            return None
        if coder is None:
            if self.passthrough or (self.mask is None and self.storage == Storage()):
                return None
            coder = UniformCoder(self.shape, self.groups)
        mask = None if self.mask is None else self.mask.numpy()
        try:
            return self.storage.wrap(coder.coded(self.masked_weight(), self.mask), mask)
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from error


class Chain(nn.Module):
    """Layers in a row; reads (N, features) or (N, channels, height, width)."""

    def __init__(self, layers: Iterable[ChainLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    @classmethod
    def of(cls, generator: nn.Module, example: Tensor | np.ndarray) -> Chain:
        """The chain of a generator that runs on `example` (N, ...). Raises `UserError` as `organza.capture` and `fold`."""
        return cls(ChainLayer(layer) for layer in fold(capture(generator, example), norms=False))

    @property
    def list(self) -> list[ChainLayer]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, ChainLayer)]

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """The batch normalisations of the layers that have one."""
        return [layer.norm for layer in self.list if layer.norm is not None]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(ci, height, width)"""
        first = self.list[0]
        return first.shape[0], first.y.size, first.x.size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(co, height, width)"""
        last = self.list[-1]
        return last.co, last.y.output, last.x.output

    def forward(self, x: Tensor) -> Tensor:
        """Results of the last layer."""
        return self.all(x)[-1]

    def all(self, x: Tensor) -> list[Tensor]:
        """Results of every layer."""
        value, made = x.reshape(len(x), *self.input_shape), []
        for layer in self.list:
            value = layer(value)
            made.append(value)
        return made

    def penalty(self) -> Tensor:
        """What coders add to the loss, for example soft weight sharing's prior."""
        parts = [layer.coder.penalty(layer.masked_weight(), layer.mask) for layer in self.list if layer.coder is not None]
        return sum((part for part in parts if part is not None), torch.zeros(()))

    def refit(self) -> None:
        """Fit the coders of all layers again."""
        refit(self.list)

    def float_layers(self) -> list[FloatLayer]:
        """What the quantiser takes."""
        return [layer.float_layer() for layer in self.list]

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Measure the statistics of batch normalisation again, as plain means over `batches` of inputs."""
        norms = self.norms
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        training = self.training
        self.train()
        for batch in batches:
            self(batch)
        self.train(training)
        for norm in norms:
            norm.momentum = 0.1


@torch.no_grad()
def refit(layers: Iterable[ChainLayer]) -> None:
    """Fit the coders of `layers` again, together those that have the levels of the network."""
    together: dict[str, list[ChainLayer]] = {}
    for layer in layers:
        key = None if layer.coder is None else layer.coder.shared
        if key is None:
            layer.refit()
        else:
            together.setdefault(key, []).append(layer)
    for sharing in together.values():
        weights = [weight for layer in sharing if (weight := layer.masked_weight()) is not None]
        coders = [layer.coder for layer in sharing if layer.coder is not None]
        coders[0].fit(weights, [layer.mask for layer in sharing])
        for coder in coders[1:]:
            coder.load_state_dict(coders[0].state_dict())


def _batch_norm(norm: Norm, bias: np.ndarray) -> nn.BatchNorm2d:
    """The normalisation of sums plus `bias`, which only moves their mean, of sums without it."""
    made = nn.BatchNorm2d(len(norm.mean), eps=norm.eps)
    names = {"weight": norm.weight, "bias": norm.bias, "running_mean": norm.mean - bias, "running_var": norm.variance}
    made.load_state_dict({key: torch.from_numpy(value).float() for key, value in names.items()}, strict=False)
    return made


def _frozen(norm: nn.BatchNorm2d) -> Norm:
    arrays = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, weight, bias = (array.double().numpy() for array in arrays if array is not None)
    return Norm(mean=mean, variance=variance, weight=weight, bias=bias, eps=norm.eps)
