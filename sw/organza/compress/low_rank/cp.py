"""CP: a layer as a sum of R products of vectors (Lebedev et al., arXiv:1412.6553), through tensorly's alternating least squares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from tensorly.decomposition import parafac

from organza.compress.low_rank.factors import Factors, Part, Rank, still

_ITERATIONS, _TOLERANCE = 100, 1e-6
# One start in some ends far from the best sum.
_STARTS = 2
# Ranks that are tried: a decomposition takes seconds for a large layer, and nothing orders its components.
_LEVELS = 10


class Cp(Factors):
    """Rank (R,) of every group: 1×1 to R channels, ky×1 and 1×kx taps on each of them, 1×1 to co.

    Least squares by turns finds a good sum, not the best one, and no rank is exact for certain.
    """

    method = "cp"

    @cached_property
    def ranks(self) -> Sequence[Rank]:
        """From 1 to the most that a tensor of this shape can need, by a constant factor."""
        sizes = sorted(self.weight.shape[1:])
        most = int(np.prod(sizes[:-1]))
        return [(rank,) for rank in sorted(set(np.geomspace(1, most, _LEVELS).round().astype(int).tolist()))]

    def error(self, rank: Rank) -> float:
        square = total = 0.0
        for group, factors in zip(self.weight, self._decomposed(rank), strict=True):
            square, total = square + float(((_sum(factors) - group) ** 2).sum()), total + float((group**2).sum())
        return square / (total or 1)

    def parts(self, rank: Rank) -> list[Part]:
        layer, groups, (r,) = self.layer, self.groups, rank
        height, width = layer.y.size, layer.x.size
        return [
            Part("in", groups * self.cig, r, still(height), still(width), groups),
            Part("vertical", groups * r, 1, layer.y, still(width), groups * r),
            Part("horizontal", groups * r, 1, still(layer.y.output), layer.x, groups * r),
            Part("out", groups * r, self.cog, still(layer.y.output), still(layer.x.output), groups),
        ]

    def weights(self, rank: Rank) -> list[np.ndarray]:
        found = self._decomposed(rank)
        first = np.concatenate([i for i, _, _, _ in found])
        vertical = np.concatenate([y.T for _, _, y, _ in found])
        horizontal = np.concatenate([x.T for _, _, _, x in found])
        last = np.concatenate([o.T for _, o, _, _ in found])
        return [
            first[:, :, None, None], vertical[:, None, :, None], horizontal[:, None, None, :], last[:, :, None, None],
        ]  # fmt: skip

    def _decomposed(self, rank: Rank) -> list[list[np.ndarray]]:
        """Factors (ci, R), (co, R), (ky, R), (kx, R) of every group, of equal length in every component."""
        if rank not in self._found:
            self._found[rank] = [_balanced(_parafac(group, rank[0])) for group in self.weight]
        return self._found[rank]

    @cached_property
    def _found(self) -> dict[Rank, list[list[np.ndarray]]]:
        return {}


def _parafac(tensor: np.ndarray, rank: int) -> list[np.ndarray]:
    """The better of two random starts."""
    found = []
    for seed in range(_STARTS):
        weights, (first, *rest) = parafac(
            tensor, rank, n_iter_max=_ITERATIONS, init="random", tol=_TOLERANCE, random_state=seed, normalize_factors=False
        )
        factors = [first * weights, *rest]
        found.append((float(((_sum(factors) - tensor) ** 2).sum()), seed, factors))
    return min(found)[2]


def _sum(factors: list[np.ndarray]) -> np.ndarray:
    """(ci, co, ky, kx)"""
    return np.einsum("ir,or,yr,xr->ioyx", *factors, optimize=True)


def _balanced(factors: list[np.ndarray]) -> list[np.ndarray]:
    """The same sum with the length of a component spread evenly over its factors, which suits rounding."""
    lengths = [np.linalg.norm(factor, axis=0) for factor in factors]
    each = np.prod(lengths, axis=0) ** (1 / len(factors))
    return [factor * np.where(length > 0, each / np.where(length > 0, length, 1), 0) for factor, length in zip(factors, lengths, strict=True)]
