"""Codebook weights: an index into a few shared integer centroids (k-means weight sharing, Deep Compression)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from organza.codes.code import Code, by_channel, channel_power, check_weights, from_channels, no_options
from organza.codes.kmeans import lloyd
from organza.codes.tanh import BITS, fit_tanh


@dataclass(frozen=True, eq=False)
class Codebook(Code):
    """Indices and centroids.

    Parameters
    ----------
    indices : integers, shape (ci, co // groups, ky, kx), below the number of centroids.
    centroids : 2…256 integers of 8 bits, ascending, all different.

    Raises
    ------
    TypeError : arrays that are not integers.
    ValueError : wrong shapes, too many centroids, an index without centroid.
    """

    indices: np.ndarray
    centroids: np.ndarray

    kind = "codebook"
    loads = True
    external = True

    def __post_init__(self) -> None:
        indices, centroids = check_weights("Codebook", self.indices), np.asarray(self.centroids)
        if not np.issubdtype(centroids.dtype, np.integer):
            raise TypeError(f"Codebook centroids must be integers, not {centroids.dtype}")
        if centroids.ndim != 1 or not 2 <= len(centroids) <= 256:
            raise ValueError(f"Codebook must have 2 to 256 centroids, not {centroids.shape}")
        centroids = centroids.astype(np.int64)
        if (np.diff(centroids) <= 0).any() or centroids[0] < -128 or centroids[-1] > 127:
            raise ValueError("Codebook centroids must be ascending integers of 8 bits")
        if indices.min() < 0 or indices.max() >= len(centroids):
            raise ValueError(f"Codebook indices must be below {len(centroids)}, the number of centroids")
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "centroids", centroids)

    @classmethod
    def of(cls, integers: np.ndarray) -> Codebook:
        """The smallest codebook of `integers` (ci, co // groups, ky, kx). Raises ValueError for more than 256 different ones."""
        centroids = np.unique(integers)
        if len(centroids) < 2:
            centroids = np.unique([*centroids, 0 if centroids[0] else 1])
        return cls(np.searchsorted(centroids, integers), centroids)

    def padded(self, count: int) -> Codebook:
        """The same weights with so many centroids, or as many as there are if those are more."""
        unused = np.setdiff1d(np.arange(-128, 128), self.centroids)[: max(count - len(self.centroids), 0)]
        centroids = np.sort(np.concatenate([self.centroids, unused]))
        return Codebook(np.searchsorted(centroids, self.integers()), centroids)

    def without_zeros(self) -> Code:
        """No centroid for 0."""
        integers = self.integers()
        others = np.unique(integers[integers != 0])
        return Codebook.of(np.where(integers == 0, others[0], integers)) if len(others) else self

    @property
    def arithmetics(self) -> tuple[str, ...]:
        """"plain" decodes at the multiplier, "bins" adds activations up by index and never decodes."""
        return ("plain", "bins")

    def orders(self, arithmetic: str) -> tuple[str, ...]:
        """In weight order, bins would have to be held for every pixel of a phase."""
        return ("row",) if arithmetic == "bins" else super().orders(arithmetic)

    def sum_cycles(self, arithmetic: str) -> int:
        return len(self.centroids) if arithmetic == "bins" else 0

    def most_ti(self, arithmetic: str, channels: int) -> int:
        return 1 if arithmetic == "bins" else super().most_ti(arithmetic, channels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        ci, co, ky, kx = self.indices.shape
        return ci, co, ky, kx

    def integers(self) -> np.ndarray:
        return self.centroids[self.indices]

    @property
    def field_bits(self) -> int:
        return (len(self.centroids) - 1).bit_length()

    def fields(self) -> np.ndarray:
        return self.indices

    @property
    def magnitude(self) -> int:
        return int(np.abs(self.centroids).max())

    @property
    def loaded_magnitude(self) -> int:
        return 128

    @property
    def fixed(self) -> dict[str, Any]:
        """Centroids are loaded too."""
        return {"centroids": len(self.centroids)}

    def of_fields(self, fields: np.ndarray) -> Code:
        return Codebook(fields, self.centroids)

    @property
    def table_bits(self) -> int:
        return 8 * len(self.centroids)

    @property
    def zero_field(self) -> int | None:
        found = np.flatnonzero(self.centroids == 0)
        return int(found[0]) if len(found) else None

    @property
    def stored_bits(self) -> int:
        return self.field_bits * self.indices.size + self.table_bits

    def parameters(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"indices": self.indices.astype(np.uint8), "centroids": self.centroids.astype(np.int8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """k-means on the weights of the layer, each output channel scaled to its largest. Option `centroids`, 16 by default.

        With option `law` "tanh" instead centroids after the tanh law, 2**`bits` of them, see `organza.codes.tanh`.
        """
        law = options.pop("law", "k-means")
        if law == "tanh":
            bits = options.pop("bits", BITS)
            no_options("tanh", options)
            cost = channel_power(power, weights.shape, groups)
            cost = np.where(cost > 0, cost, cost.max() * 1e-9 or 1.0)
            indices, centroids, scales = fit_tanh(by_channel(weights, groups), cost, bits)
            return cls(from_channels(indices, weights.shape, groups), centroids), scales
        if law != "k-means":
            raise ValueError(f"codebook law must be 'k-means' or 'tanh', not {law!r}")
        count = options.pop("centroids", 16)
        no_options("codebook", options)
        if not 2 <= count <= 256:
            raise ValueError(f"codebook must have 2 to 256 centroids, not {count}")
        rows = by_channel(weights, groups)
        peak = np.abs(rows).max(1)
        scales = peak / 127
        unit = rows / np.where(scales > 0, scales, 1)[:, None]
        found = np.unique(np.round(unit))
        if len(found) > count:
            found = np.unique(np.round(lloyd(unit.reshape(-1), count)))
        centroids = found.astype(np.int64)
        if len(centroids) < 2:
            centroids = np.unique(np.append(centroids, centroids[0] - 1 if centroids[0] else 1))
        edges = (centroids[1:] + centroids[:-1]) / 2
        indices = np.searchsorted(edges, unit, side="right")
        return cls(from_channels(indices, weights.shape, groups), centroids), scales
