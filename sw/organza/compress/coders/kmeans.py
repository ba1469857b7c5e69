"""Weight sharing by k-means, then training of the shared values (Deep Compression)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import Code, Codebook
from organza.codes.kmeans import lloyd
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_integer
from organza.compress.coders.coder import Coder
from organza.compress.coders.shared_values import rounded_values
from organza.compress.gradients import straight_through


class KMeansCoder(Coder):
    """Every weight is the centroid of its cluster; the clusters stay, centroids are trained (Han et al., ICLR 2016).

    Clusters are those of k-means from centroids in equal steps between the smallest and the largest weight, the start
    that the paper finds best. ∂L/∂c is the sum over the members of ∂L/∂w. With a mask the first centroid is 0, for all
    pruned weights and no others, and stays 0. Centroids are stored as integers of 8 bits.

    Parameters
    ----------
    centroids : 2…256, of a layer, the 0 of a mask included. granularity : "tensor" is the paper's; "channel" clusters
        weights over the root of their channel's mean square.
    """

    kind = "kmeans"
    owns = True
    granularities = ("channel", "tensor")
    index: Tensor  # cluster of every weight
    unit: Tensor  # what centroids are multiplied by, (co,) or (1,)

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, centroids: int = 16, granularity: str = "tensor"
    ) -> None:
        super().__init__(shape, groups, granularity=granularity)
        count = check_integer("kmeans centroids", centroids, 2, 256)
        self.centroids = nn.Parameter(torch.zeros(count))
        self.register_buffer("index", torch.zeros(self.shape, dtype=torch.uint8))
        self.register_buffer("unit", torch.ones(self.co if granularity == "channel" else 1))

    def options(self) -> dict[str, Any]:
        return {"centroids": len(self.centroids), "granularity": self.granularity}

    def spec(self) -> CodeSpec:
        return CodeSpec("codebook", {"centroids": len(self.centroids)})

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        """Cluster, once: from then on there are no weights."""
        if weight is None:
            return
        if self.granularity == "channel":
            self.unit.copy_(self.sizes(weight, mask))
            weight = weight / self.spread(self.unit)
        free = int(mask is not None)
        values = weight.double().numpy()
        members = values.reshape(-1) if mask is None else values[mask.numpy()]
        found = lloyd(members, len(self.centroids) - free)
        self.centroids.zero_()
        self.centroids[free:] = torch.from_numpy(found)
        nearest = np.searchsorted((found[1:] + found[:-1]) / 2, values, side="right") + free
        self.index.copy_(torch.from_numpy(nearest if mask is None else np.where(mask.numpy(), nearest, 0)))

    def table(self, mask: Tensor | None) -> Tensor:
        """Centroids (k,), the first 0 with a mask."""
        return self.centroids if mask is None else torch.cat([self.centroids.new_zeros(1), self.centroids[1:]])

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        table, index = self.table(mask), self.index.int().reshape(-1)
        values, step = rounded_values(table)
        made = values.index_select(0, index).reshape(self.shape) * self.spread(step * self.unit)
        return straight_through(made, table.index_select(0, index).reshape(self.shape) * self.spread(self.unit))

    @torch.no_grad()
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        values, step = rounded_values(self.table(mask))
        return Codebook.of(values.long().numpy()[self.index.numpy()]), (step * self.unit).double().numpy()
