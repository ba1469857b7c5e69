"""Tucker-2: fewer channels before and after the k×k taps (Kim et al., arXiv:1511.06530), through tensorly's HOOI."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from tensorly.decomposition import partial_tucker

from organza.compress.low_rank.factors import Factors, Part, Rank, still
from organza.errors import UserError

# Steps of the grid of ranks that are tried: Tucker's two ranks share an energy.
_LEVELS = 32


class Tucker(Factors):
    """Ranks (R1, R2) of input and output channels of every group: 1×1 to R1, the taps from R1 to R2, 1×1 to co."""

    method = "tucker"

    @cached_property
    def _energies(self) -> list[np.ndarray]:
        """For either side, the share of the square that each number of channels keeps, over all groups."""
        made = []
        for axis in (1, 2):
            matrix = np.moveaxis(self.weight, axis, 1).reshape(self.groups, self.weight.shape[axis], -1)
            square = (np.linalg.svd(matrix, compute_uv=False) ** 2).sum(0)
            square = np.pad(square, (0, self.weight.shape[axis] - len(square)))
            made.append(np.cumsum(square) / (square.sum() or 1))
        return made

    @cached_property
    def ranks(self) -> Sequence[Rank]:
        """Pairs in which both sides keep the same share of the square, from 1 each to all."""
        pairs = {(self.cig, self.cog)}
        for share in 1 - np.geomspace(1, 1e-4, _LEVELS):
            r1, r2 = (min(int(np.searchsorted(kept, share)) + 1, len(kept)) for kept in self._energies)
            pairs.add((r1, r2))
        return sorted({self._usable(*pair) for pair in pairs})

    def _usable(self, r1: int, r2: int) -> Rank:
        """The core has no more channels on one side than all its taps on the other make."""
        taps = self.weight.shape[3] * self.weight.shape[4]
        r1 = min(r1, r2 * taps)
        return r1, min(r2, r1 * taps)

    def check(self, rank: Rank) -> None:
        super().check(rank)
        if rank != self._usable(*rank):
            raise UserError(f"{self.layer.name}: ranks {list(rank)} are further apart than the taps can tell; {self._usable(*rank)} do")

    def error(self, rank: Rank) -> float:
        square = total = 0.0
        for group, (core, (first, last)) in zip(self.weight, self._decomposed(rank), strict=True):
            made = np.einsum("abyx,ia,ob->ioyx", core, first, last, optimize=True)
            square, total = square + float(((made - group) ** 2).sum()), total + float((group**2).sum())
        return square / (total or 1)

    def parts(self, rank: Rank) -> list[Part]:
        layer, groups, (r1, r2) = self.layer, self.groups, rank
        return [
            Part("in", groups * self.cig, r1, still(layer.y.size), still(layer.x.size), groups),
            Part("core", groups * r1, r2, layer.y, layer.x, groups),
            Part("out", groups * r2, self.cog, still(layer.y.output), still(layer.x.output), groups),
        ]

    def weights(self, rank: Rank) -> list[np.ndarray]:
        found = self._decomposed(rank)
        first = np.concatenate([factors[0] for _, factors in found])
        core = np.concatenate([core for core, _ in found])
        last = np.concatenate([factors[1].T for _, factors in found])
        return [first[:, :, None, None], core, last[:, :, None, None]]

    def _decomposed(self, rank: Rank) -> list[tuple[np.ndarray, list[np.ndarray]]]:
        if rank not in self._found:
            self._found[rank] = [partial_tucker(group, rank=list(rank), modes=[0, 1])[0] for group in self.weight]
        return self._found[rank]

    @cached_property
    def _found(self) -> dict[Rank, list[tuple[np.ndarray, list[np.ndarray]]]]:
        return {}
