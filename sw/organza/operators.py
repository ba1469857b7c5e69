"""What each exported PyTorch operator means as a step, and what to use instead of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.errors import UserError
from organza.geometry import Axis
from organza.graph import (
    ActivateStep,
    Activation,
    LinearStep,
    Norm,
    NormalizeStep,
    ReshapeStep,
    ShuffleStep,
    Step,
    UpsampleStep,
)

# Two images: one would let a reshape of the batch into the map go unnoticed.
BATCH = 2

ADVICE = {
    "add": "residual adds are not supported yet, only chains of layers",
    "cat": "concatenations are not supported yet, only chains of layers",
    "mul": "fold the factor into the weights of a layer, or apply it outside the generator",
    "div": "fold the factor into the weights of a layer, or apply it outside the generator",
    "sub": "apply it outside the generator",
    "pad": "use padding_mode='zeros' and the padding argument of the layer",
    "constant_pad_nd": "use the padding argument of the layer",
    "instance_norm": "use BatchNorm2d",
    "group_norm": "use BatchNorm2d",
    "layer_norm": "use BatchNorm after the layer",
    "upsample_bilinear2d": "use mode='nearest' with an integer factor",
    "upsample_bicubic2d": "use mode='nearest' with an integer factor",
    "elu": "use LeakyReLU",
    "gelu": "use ReLU or LeakyReLU",
    "silu": "use ReLU or LeakyReLU",
    "softplus": "use ReLU or LeakyReLU",
    "hardtanh": "use ReLU, or Tanh",
    "clamp": "use ReLU, Tanh or Sigmoid",
    "slice": "use the padding argument of the layer before it",
    "conv1d": "use Conv2d",
    "conv3d": "use Conv2d",
    "max_pool2d": "use Conv2d with a stride",
    "avg_pool2d": "use Conv2d with a stride",
}
_SUPPORTED = (
    "supported are ConvTranspose2d, Conv2d, Linear, BatchNorm, ReLU, LeakyReLU, PReLU, Tanh, Sigmoid, "
    "nearest upsampling, PixelShuffle, Flatten and view"
)
_RESHAPES = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view"}
_NOTHING = {"clone", "contiguous", "detach", "detach_", "alias", "lift_fresh_copy"}
_DROPOUTS = {"dropout", "dropout_", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"}


def times(shape) -> str:
    """Sizes for a message."""
    return ", ".join(map(str, shape))


class Operators:
    """Reads the operators of one exported program."""

    def __init__(self, exported: torch.export.ExportedProgram) -> None:
        signature = exported.graph_signature
        self.tensors: dict[str, tuple[str, Tensor]] = {}
        stored = {**exported.state_dict, **exported.constants}
        for names in (
            signature.inputs_to_parameters,
            signature.inputs_to_buffers,
            signature.inputs_to_lifted_tensor_constants,
        ):
            for node, target in names.items():
                if isinstance(stored.get(target), Tensor):
                    self.tensors[node] = (target, stored[target])
        self.names: set[str] = set()

    def shape(self, node) -> tuple[int, ...]:
        """Per-image shape of a node's result."""
        shape = tuple(int(n) for n in node.meta["val"].shape)
        if not shape or shape[0] != BATCH:
            raise UserError(
                f"{self.path(node)}: '{self.operator(node)}' makes shape ({times(shape)}) from a batch of "
                f"{BATCH}; keep the batch as the first dimension"
            )
        return shape[1:]

    def path(self, node) -> str:
        """Module path, e.g. "net.3"; the operator for code of the outermost forward."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = stack[-1][0] if stack else ""
        return path or node.name

    def name(self, node) -> str:
        """A path that no other step has."""
        base = name = self.path(node)
        count = 2
        while name in self.names:
            name, count = f"{base}:{count}", count + 1
        self.names.add(name)
        return name

    @staticmethod
    def operator(node) -> str:
        target = getattr(node.target, "_schema", None)
        return (
            target.name.split("::")[-1]
            if target
            else str(getattr(node.target, "__name__", node.target))
        )

    def array(self, node, path: str) -> np.ndarray:
        """Values of a parameter or buffer, checked."""
        if node.name not in self.tensors:
            raise UserError(
                f"{path}: its weights are computed in the model; store plain weights, e.g. with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )
        target, tensor = self.tensors[node.name]
        values = tensor.detach().cpu().double().numpy()
        if not np.isfinite(values).all():
            raise UserError(
                f"{path}: tensor '{target}' must be finite, but holds NaN or an infinity"
            )
        return values

    def step(self, node) -> Step | None:
        """What one operator means; None when it changes nothing."""
        operator = self.operator(node).rstrip("_")
        values = _arguments(node)
        if operator in _NOTHING:
            return None
        if operator in _DROPOUTS:
            if values.get("train"):
                raise UserError(
                    f"{self.path(node)}: dropout is forced on with training=True; "
                    "use nn.Dropout, which evaluation mode turns off"
                )
            return None
        if operator in _RESHAPES:
            return ReshapeStep(name=self.path(node), shape=self.shape(node))
        reader: Callable[[Any, dict], Step] | None = getattr(self, f"read_{operator}", None)
        if reader is None:
            raise UserError(
                f"{self.path(node)}: operator '{operator}' is not supported; "
                f"{ADVICE.get(operator, _SUPPORTED)}"
            )
        return reader(node, values)

    def read_linear(self, node, values: dict) -> Step:
        path = self.path(node)
        if len(self.shape(values["input"])) != 1:
            raise UserError(
                f"{path}: Linear takes shape (N, {times(self.shape(values['input']))}), which is not "
                "(N, features); flatten its input"
            )
        weights = self.array(values["weight"], path).T[:, :, None, None]
        point = Axis(size=1, kernel=1)
        bias = self.bias(values, path, weights.shape[1])
        return LinearStep(
            name=self.name(node), weights=weights, bias=bias, y=point, x=point, groups=1, dense=True
        )

    def bias(self, values: dict, path: str, co: int) -> np.ndarray:
        return np.zeros(co) if values.get("bias") is None else self.array(values["bias"], path)

    def read_conv2d(self, node, values: dict) -> Step:
        path, groups = self.path(node), int(values["groups"])
        weights = self.array(values["weight"], path)
        co, cig, *_ = weights.shape
        # [co, ci/groups] per group to [ci, co/groups], taps flipped: the project's rule convolves.
        weights = weights.reshape(groups, co // groups, cig, *weights.shape[2:])
        weights = weights.transpose(0, 2, 1, 3, 4).reshape(
            groups * cig, co // groups, *weights.shape[3:]
        )
        weights = _dilate(weights[..., ::-1, ::-1], _pair(values["dilation"]))
        kernel, stride = weights.shape[2:], _pair(values["stride"])
        padding = values["padding"]
        if padding == "valid":
            pads = [(0, 0), (0, 0)]
        elif padding == "same":
            pads = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel]
        else:
            pads = [(p, p) for p in _pair(padding)]
        crops = [(k - 1 - a, k - 1 - b) for k, (a, b) in zip(kernel, pads, strict=True)]
        axes = self.axes(path, values["input"], kernel, (1, 1), stride, crops)
        bias = self.bias(values, path, co)
        return LinearStep(
            name=self.name(node), weights=weights, bias=bias, y=axes[0], x=axes[1], groups=groups
        )

    def read_conv_transpose2d(self, node, values: dict) -> Step:
        path, groups = self.path(node), int(values["groups"])
        weights = _dilate(self.array(values["weight"], path), _pair(values["dilation"]))
        kernel = weights.shape[2:]
        crops = [
            (p, p - extra)
            for p, extra in zip(
                _pair(values["padding"]), _pair(values["output_padding"]), strict=True
            )
        ]
        axes = self.axes(path, values["input"], kernel, _pair(values["stride"]), (1, 1), crops)
        bias = self.bias(values, path, weights.shape[1] * groups)
        return LinearStep(
            name=self.name(node), weights=weights, bias=bias, y=axes[0], x=axes[1], groups=groups
        )

    def axes(self, path: str, source, kernel, up, down, crops) -> list[Axis]:
        shape = self.shape(source)
        if len(shape) != 3:
            raise UserError(
                f"{path}: takes shape (N, {times(shape)}), which is not (N, channels, height, width); "
                "reshape its input"
            )
        try:
            return [
                Axis(size=n, kernel=k, up=u, down=d, crop_before=before, crop_after=after)
                for n, k, u, d, (before, after) in zip(
                    shape[1:], kernel, up, down, crops, strict=True
                )
            ]
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error

    def read_batch_norm(self, node, values: dict) -> Step:
        path = self.path(node)
        if values["training"] or values["running_mean"] is None:
            raise UserError(
                f"{path}: BatchNorm uses the statistics of the batch; train it with "
                "track_running_stats=True and keep it in evaluation mode"
            )
        mean, variance = (self.array(values[key], path) for key in ("running_mean", "running_var"))
        weight, bias = (
            np.full(len(mean), value) if values[key] is None else self.array(values[key], path)
            for key, value in (("weight", 1.0), ("bias", 0.0))
        )
        norm = Norm(mean=mean, variance=variance, weight=weight, bias=bias, eps=float(values["eps"]))
        return NormalizeStep(name=path, norm=norm)

    def activate(self, node, activation: Activation) -> Step:
        return ActivateStep(name=self.path(node), activation=activation)

    def read_relu(self, node, values: dict) -> Step:
        return self.activate(node, Activation(slope=np.zeros(1)))

    def read_leaky_relu(self, node, values: dict) -> Step:
        return self.activate(node, Activation(slope=np.array([float(values["negative_slope"])])))

    def read_prelu(self, node, values: dict) -> Step:
        slope = self.array(values["weight"], self.path(node)).reshape(-1)
        return self.activate(node, Activation(slope=slope))

    def read_tanh(self, node, values: dict) -> Step:
        return self.activate(node, Activation("tanh"))

    def read_sigmoid(self, node, values: dict) -> Step:
        return self.activate(node, Activation("sigmoid"))

    def read_upsample_nearest2d(self, node, values: dict) -> Step:
        before, after = self.shape(values["input"])[1:], self.shape(node)[1:]
        if any(b % a for a, b in zip(before, after, strict=True)):
            raise UserError(
                f"{self.path(node)}: upsampling must be by an integer factor, not from "
                f"{before[0]}×{before[1]} to {after[0]}×{after[1]}"
            )
        factors = after[0] // before[0], after[1] // before[1]
        return UpsampleStep(name=self.name(node), factors=factors)

    read__upsample_nearest_exact2d = read_upsample_nearest2d

    def read_pixel_shuffle(self, node, values: dict) -> Step:
        return ShuffleStep(name=self.name(node), factor=int(values["upscale_factor"]))


def _arguments(node) -> dict[str, Any]:
    """An operator's arguments by the names of its schema, defaults filled in."""
    values: dict[str, Any] = {}
    for index, argument in enumerate(node.target._schema.arguments):
        if index < len(node.args):
            values[argument.name] = node.args[index]
        else:
            values[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    for alias in ("self", "X"):
        if alias in values:
            values.setdefault("input", values[alias])
    return values


def _pair(value) -> tuple[int, int]:
    """Schema defaults and modules may give one number for both axes."""
    values = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return values[0], values[-1]


def _dilate(weights: np.ndarray, dilation: tuple[int, int]) -> np.ndarray:
    """The larger kernel with zero taps that a dilated kernel is."""
    ci, cog, ky, kx = weights.shape
    spread = np.zeros((ci, cog, (ky - 1) * dilation[0] + 1, (kx - 1) * dilation[1] + 1))
    spread[:, :, :: dilation[0], :: dilation[1]] = weights
    return spread
