"""A k×k layer as a vertical and a horizontal one: Jaderberg et al., arXiv:1405.3866, scheme 2, in closed form.

The singular values of M[(ci, ky), (co, kx)] give a layer of ky×1 taps from ci to K channels and one of 1×kx taps from K to co,
for any stride, crop and group: vertical taps only see rows, horizontal ones columns. At full rank nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from organza.compress.chain import ChainLayer
from organza.compress.low_rank.factors import DEFAULT_BITS, Factors, Part, Rank, still


class Separable(Factors):
    """Rank (K,), components of every group."""

    method = "separable"

    def __init__(self, layer: ChainLayer, bits: int = DEFAULT_BITS) -> None:
        super().__init__(layer, bits)
        ky, kx = self.weight.shape[3:]
        matrix = self.weight.transpose(0, 1, 3, 2, 4).reshape(self.groups, self.cig * ky, self.cog * kx)
        self.u, self.s, self.v = np.linalg.svd(matrix, full_matrices=False)

    @cached_property
    def ranks(self) -> Sequence[Rank]:
        return [(rank,) for rank in range(1, self.s.shape[1] + 1)]

    def error(self, rank: Rank) -> float:
        square = self.s**2
        return float(square[:, rank[0] :].sum() / (square.sum() or 1))

    def parts(self, rank: Rank) -> list[Part]:
        layer, groups = self.layer, self.groups
        return [
            Part("vertical", groups * self.cig, rank[0], layer.y, still(layer.x.size), groups),
            Part("horizontal", groups * rank[0], self.cog, still(layer.y.output), layer.x, groups),
        ]

    def weights(self, rank: Rank) -> list[np.ndarray]:
        (k,) = rank
        root = np.sqrt(self.s[:, :k])
        vertical, horizontal = self.parts(rank)
        u = (self.u[:, :, :k] * root[:, None]).reshape(self.groups * self.cig, -1, k, 1).transpose(0, 2, 1, 3)
        v = (self.v[:, :k] * root[:, :, None]).reshape(self.groups * k, self.cog, 1, -1)
        assert u.shape == vertical.shape and v.shape == horizontal.shape
        return [u, v]
