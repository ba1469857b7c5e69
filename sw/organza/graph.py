"""The captured model: a chain of float layers in the project's convention, not folded yet.

A tensor between two steps has a per-image shape, (channels, height, width) or (features,); the
batch is left out. Arrays are float64, so that folding adds no rounding of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from organza.geometry import Axis

KINDS = ("slope", "tanh", "sigmoid")


@dataclass(frozen=True, eq=False)
class Activation:
    """A function of one value.

    Parameters
    ----------
    kind : "slope" (v if v >= 0 else slope * v), "tanh" or "sigmoid".
    slope : float64, shape (1,) or (channels,). Identity is slope 1, ReLU slope 0, LeakyReLU one
        slope, PReLU one slope or one for each channel. Ignored by the other kinds.

    Raises ValueError for an unknown kind, or slopes that are not finite or not one-dimensional.
    """

    kind: str = "slope"
    slope: np.ndarray = field(default_factory=lambda: np.ones(1))

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"Activation kind must be one of {', '.join(KINDS)}, not {self.kind!r}"
            )
        slope = np.asarray(self.slope, dtype=np.float64)
        if slope.ndim != 1 or not slope.size or not np.isfinite(slope).all():
            raise ValueError(
                f"Activation slopes must be finite and one-dimensional, not {self.slope}"
            )
        object.__setattr__(self, "slope", slope)

    @property
    def identity(self) -> bool:
        """Whether values pass unchanged."""
        return self.kind == "slope" and bool((self.slope == 1).all())

    @property
    def uniform(self) -> bool:
        """Whether every channel gets the same function."""
        return self.kind != "slope" or bool((self.slope == self.slope[0]).all())

    @property
    def unsigned(self) -> bool:
        """Whether the results are never negative."""
        return self.kind == "sigmoid" or (self.kind == "slope" and bool((self.slope <= 0).all()))


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearStep:
    """A convolution, transposed convolution or fully connected layer (1×1 map).

    weights : float64 [ci, co // groups, ky, kx]; a dilated kernel holds zeros between its taps.
    bias : float64 (co,).
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray
    y: Axis
    x: Axis
    groups: int
    dense: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """Batch normalisation: (v - mean) / sqrt(variance + eps) * weight + bias, all float64 of shape (channels,)."""

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    eps: float

    @property
    def scale(self) -> np.ndarray:
        """Of v * scale + shift, which is the same with frozen statistics."""
        return self.weight / np.sqrt(self.variance + self.eps)

    @property
    def shift(self) -> np.ndarray:
        """See `scale`."""
        return self.bias - self.mean * self.scale

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> Norm:
        """The normalisation of other channels: `function` makes theirs of every array."""
        arrays = {key: function(getattr(self, key)) for key in ("mean", "variance", "weight", "bias")}
        return Norm(**arrays, eps=self.eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalizeStep:
    """Batch normalisation with frozen statistics."""

    name: str
    norm: Norm

    @property
    def scale(self) -> np.ndarray:
        """Of v * scale[c] + shift[c]."""
        return self.norm.scale

    @property
    def shift(self) -> np.ndarray:
        """See `scale`."""
        return self.norm.shift


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivateStep:
    """An activation layer."""

    name: str
    activation: Activation


@dataclass(frozen=True, kw_only=True)
class UpsampleStep:
    """Nearest-neighbour upsampling by integer factors."""

    name: str
    factors: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ShuffleStep:
    """PixelShuffle: channel c·r² + a·r + b at (y, x) becomes channel c at (r·y + a, r·x + b)."""

    name: str
    factor: int


@dataclass(frozen=True, kw_only=True)
class ReshapeStep:
    """Row-major reinterpretation of one image's values to `shape`."""

    name: str
    shape: tuple[int, ...]


Step: TypeAlias = (
    LinearStep | NormalizeStep | ActivateStep | UpsampleStep | ShuffleStep | ReshapeStep
)


@dataclass(frozen=True, eq=False)
class Graph:
    """A chain of steps.

    input_shape : per-image shape of the input, (features,) or (channels, height, width).
    """

    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
