"""Exact folding of a captured chain into layers of one linear operation and one activation each.

What only moves values (upsampling, PixelShuffle, views) waits behind the last layer until the next
linear operation shows whether it merges with one of the two; normalisations and activations reach
the last layer through it, because they commute with moving. What cannot merge becomes a layer with
one-hot weights. The usual reason is a bias that differs within a merged channel (per phase of a
PixelShuffle, or per position of a Linear viewed as a map): a channel has one bias.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod

import numpy as np

from organza import identities
from organza.errors import UserError
from organza.float_layers import FloatLayer, float_run
from organza.graph import (
    ActivateStep,
    Activation,
    Graph,
    LinearStep,
    NormalizeStep,
    ReshapeStep,
    ShuffleStep,
    Step,
    UpsampleStep,
)

__all__ = ["FloatLayer", "float_run", "fold"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class _Move:
    """Values moved: "upsample" (factors), "shuffle" (r), "view" or "flatten" (the map)."""

    kind: str
    name: str
    value: tuple[int, ...]
    before: Shape
    after: Shape


def fold(graph: Graph, *, norms: bool = True) -> list[FloatLayer]:
    """The layers of `graph`, in order; `float_run` of them equals the model up to float rounding.

    A flatten at the very end is dropped: layers make maps. Without `norms`, batch normalisation stays in `FloatLayer.norm`
    wherever its layer can keep it, for training to go on.

    Raises `UserError` naming the step that cannot be folded and what to do instead.
    """
    folder = _Folder(graph.input_shape, norms)
    for step in graph.steps:
        folder.take(step)
    return folder.finish()


class _Folder:
    def __init__(self, input_shape: tuple[int, ...], norms: bool) -> None:
        self.norms = norms
        self.layers: list[FloatLayer] = []
        self.moves: list[_Move] = []
        self.norm: NormalizeStep | None = None
        self.view: ReshapeStep | None = None
        self.shape: Shape = _map("input", input_shape)
        self.names: set[str] = set()

    def take(self, step: Step) -> None:
        if isinstance(step, ReshapeStep):
            # Only the last of several views matters: all are row-major readings of the same values.
            self.view = step
            return
        self.settle_view()
        if self.norm is not None and not isinstance(step, LinearStep):
            self.refuse_norm(self.norm)
        match step:
            case LinearStep():
                self.linear(step)
            case NormalizeStep():
                self.normalize(step)
            case ActivateStep():
                self.activate(step)
            case UpsampleStep(name=name, factors=(ry, rx)):
                c, h, w = self.shape
                self.move("upsample", name, (ry, rx), (c, h * ry, w * rx))
            case ShuffleStep(name=name, factor=r):
                c, h, w = self.shape
                self.move("shuffle", name, (r,), (c // r**2, h * r, w * r))

    def move(self, kind: str, name: str, value: tuple[int, ...], after: Shape) -> None:
        self.moves.append(_Move(kind, name, value, self.shape, after))
        self.shape = after

    def settle_view(self) -> None:
        if self.view is None:
            return
        step, self.view = self.view, None
        target = _map(step.name, step.shape or (1,))  # a score is a feature
        if target == self.shape:
            return
        last = self.moves[-1] if self.moves else None
        if last is not None and last.kind in ("view", "flatten") and last.before == target:
            self.moves.pop()
            self.shape = target
        elif not self.layers and not self.moves and self.shape[1:] == (1, 1):
            self.shape = target
        elif self.shape[1:] == (1, 1) and (last is None or last.kind != "flatten"):
            self.move("view", step.name, target, target)
        elif target[1:] == (1, 1):
            self.move("flatten", step.name, self.shape, target)
        else:
            raise UserError(
                f"{step.name}: a view from {self.shape} to {target} cannot be folded; only features "
                "viewed as a map and a map flattened to features are supported"
            )

    def linear(self, step: LinearStep) -> None:
        weights, bias = step.weights, step.bias
        if weights.shape[0] != self.shape[0] or (step.y.size, step.x.size) != self.shape[1:]:
            raise UserError(f"{step.name}: takes {weights.shape[0]} channels of a map {self.shape}")
        if self.norm is not None:
            norm, self.norm = self.norm, None
            if not all(len(t) == a.kernel for a in (step.y, step.x) for t in a.table):
                self.refuse_norm(norm)
            shift = np.einsum(
                "giokl,gi->go",
                weights.reshape(step.groups, -1, *weights.shape[1:]),
                norm.shift.reshape(step.groups, -1),
            )
            bias = bias + shift.reshape(-1)
            weights = weights * norm.scale[:, None, None, None]
        layer = FloatLayer(
            name=step.name, weights=weights, bias=bias, y=step.y, x=step.x, groups=step.groups
        )
        while self.moves:
            last = self.moves[-1]
            if last.kind == "flatten":
                c, h, w = last.value
                layer = identities.gather_features(layer, (c, h, w))
            elif last.kind == "upsample":
                layer = identities.compose_upsample(layer, (last.value[0], last.value[1]))
            else:
                break
            self.moves.pop()
        self.settle_moves()
        self.append(layer)
        self.shape = layer.output_shape

    def append(self, layer: FloatLayer) -> None:
        name, count = layer.name, 2
        while name in self.names:
            name, count = f"{layer.name}:{count}", count + 1
        self.names.add(name)
        self.layers.append(dataclasses.replace(layer, name=name))

    def settle_moves(self) -> None:
        """Merge what waits into the last layer where that is exact, else append layers."""
        for move in self.moves:
            merged = self.merged(move)
            if merged is not None:
                self.layers[-1] = merged
            elif move.kind == "upsample":
                ry, rx = move.value
                self.append(identities.repeat_layer(move.name, move.before, (ry, rx)))
            elif move.kind == "shuffle":
                self.append(identities.shuffle_layer(move.name, move.before, move.value[0]))
            elif move.kind == "view":
                self.append(identities.view_layer(move.name, move.after))
            else:
                raise UserError(
                    f"{move.name}: a flattened map must go to a Linear layer; remove the flatten"
                )
        self.moves = []

    def merged(self, move: _Move) -> FloatLayer | None:
        """The last layer with `move` after it, or None when one layer cannot do both."""
        if not self.layers or self.layers[-1].passthrough:
            return None
        layer = self.layers[-1].folded()  # a merged channel has one normalisation
        block = move.before[0] // move.after[0]
        if move.kind not in ("shuffle", "view") or layer.weights.shape[1] % block:
            return None
        per_channel = layer.bias.reshape(-1, block), layer.slopes.reshape(-1, block)
        if not all((runs == runs[:, :1]).all() for runs in per_channel):
            return None
        axes = layer.y, layer.x
        if move.kind == "shuffle" and all(axis.down == 1 for axis in axes):
            made = identities.compose_shuffle(layer, move.value[0])
        elif move.kind == "view" and all(
            (a.size, a.kernel, a.crop_before, a.crop_after) == (1, 1, 0, 0) for a in axes
        ):
            made = identities.expand_features(layer, move.after)
        else:
            return None
        activation = dataclasses.replace(layer.activation, slope=per_channel[1][:, 0])
        return dataclasses.replace(made, activation=activation)

    def through(self, name: str, values: np.ndarray) -> np.ndarray:
        """Per-channel `values` at this point, as per-channel values of the last layer."""
        if len(values) == 1:
            return values
        for move in reversed(self.moves):
            if move.kind == "flatten":
                runs = values.reshape(move.before[0], -1)
                if not (runs == runs[:, :1]).all():
                    raise UserError(
                        f"{name}: differs over the positions of one channel; move it before the flatten"
                    )
                values = runs[:, 0]
            elif move.kind in ("shuffle", "view"):
                values = np.repeat(values, move.before[0] // move.after[0])
        return values

    def normalize(self, step: NormalizeStep) -> None:
        if not self.layers or not self.layers[-1].activation.identity:
            self.norm = step
            return
        layer = self.layers[-1].folded()
        channels = np.ones(self.shape[0])
        norm = step.norm.each(lambda values: self.through(step.name, values * channels))
        layer = dataclasses.replace(layer, norm=norm)
        self.layers[-1] = layer.folded() if self.norms or layer.passthrough else layer

    def refuse_norm(self, step: NormalizeStep) -> None:
        raise UserError(
            f"{step.name}: BatchNorm must directly follow a linear layer, where it folds exactly; before a "
            "padded layer it does not: move it behind the linear layer, before its activation"
        )

    def activate(self, step: ActivateStep) -> None:
        new = step.activation
        if not self.layers:
            raise UserError(f"{step.name}: an activation must follow a linear layer, not the input")
        layer = self.layers[-1]
        old = layer.activation
        if new.kind == "slope":
            slope = self.through(step.name, new.slope)
            if old.kind != "slope" or (not old.identity and (old.slope < 0).any()):
                self.refuse_second(step)
            # Slopes of at least 0 keep the sign, so that two in a row multiply.
            new = Activation("slope", slope * old.slope)
        elif not old.identity:
            self.refuse_second(step)
        self.layers[-1] = dataclasses.replace(layer, activation=new)

    def refuse_second(self, step: ActivateStep) -> None:
        raise UserError(
            f"{step.name}: a second activation after that of {self.layers[-1].name} cannot be folded; "
            "remove one of them"
        )

    def finish(self) -> list[FloatLayer]:
        self.settle_view()
        if self.norm is not None:
            self.refuse_norm(self.norm)
        if self.moves and self.moves[-1].kind == "flatten":
            self.moves.pop()
        self.settle_moves()
        return self.layers


def _map(name: str, shape: tuple[int, ...]) -> Shape:
    """(channels, height, width) of a per-image shape; features are a 1×1 map."""
    if len(shape) == 1:
        return shape[0], 1, 1
    if len(shape) != 3:
        raise UserError(
            f"{name}: shape (N, {', '.join(map(str, shape))}) must be (N, features) or "
            f"(N, channels, height, width) where a layer reads it, not {prod(shape)} values in "
            f"{len(shape)} dimensions"
        )
    return shape[0], shape[1], shape[2]
