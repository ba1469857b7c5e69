"""Weights that hashes draw from a few trained buckets: HashedNets, and blocked hashing for whole lane words."""

from __future__ import annotations

from abc import abstractmethod
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import BlockHash, Code, Hashed
from organza.codes.hashed import places
from organza.codes.spec import CodeSpec
from organza.codes.xxhash import xxh32
from organza.compress.coders.checks import check_choice, check_flag, check_integer
from organza.compress.coders.coder import Coder
from organza.compress.coders.shared_values import rounded_values
from organza.compress.gradients import straight_through

STARTS = ("weights", "random")
COMPAT_SEED = 1691


class BucketCoder(Coder):
    """w = ξ · bucket[h], h and ξ = ±1 given by the weight's place; ∂L/∂bucket is the sum over its places of ξ · ∂L/∂w.

    Buckets are stored as integers of 8 bits. There are no weights to prune: every bucket serves places all over the
    layer.

    Parameters
    ----------
    start : "weights": buckets of least squared error for the weights there are, each over the root of its channel's
        mean square; "random": uniform within ±1/√(inputs of an output), from `seed`.
    rescale : divide a bucket's gradient by the number of its places, as the authors' code can.
    """

    owns = True
    prunes = False
    granularities = ("tensor",)
    unit: Tensor
    index: Tensor
    sign: Tensor
    amounts: Tensor

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, count: int, index: np.ndarray, sign: np.ndarray, *,
        start: str, rescale: bool, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups)
        self.start = check_choice(f"{self.kind} start", start, STARTS)
        self.rescale = check_flag(f"{self.kind} rescale", rescale)
        fan = shape[0] // groups * shape[2] * shape[3]
        drawn = torch.rand(count, generator=torch.Generator().manual_seed(seed))
        self.buckets = nn.Parameter((2 * drawn - 1) / sqrt(fan))
        self.register_buffer("unit", torch.ones(self.co))
        self.register_buffer("index", torch.from_numpy(index.astype(np.int32)).reshape(-1), persistent=False)
        self.register_buffer("sign", torch.from_numpy(sign.astype(np.float32)).reshape(self.shape), persistent=False)
        amounts = torch.bincount(self.index, minlength=count).clamp_min(1)
        self.register_buffer("amounts", amounts.float(), persistent=False)

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        """Take over weights, once."""
        if weight is None or self.start == "random":
            return
        self.unit.copy_(self.sizes(weight, None))
        # weight ≈ sign · bucket · unit, so a bucket's best value is a weighted mean.
        unit = self.spread(self.unit).expand(self.shape).double()
        total, share = (
            torch.bincount(self.index, part.reshape(-1), len(self.buckets))
            for part in (unit * self.sign * weight, unit * unit)
        )
        self.buckets.copy_(torch.where(share > 0, total / share.clamp_min(1e-300), 0.0))

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        values, step = rounded_values(self.buckets)
        made = self._placed(values) * self.spread(step * self.unit)
        buckets = straight_through(self.buckets, self.buckets / self.amounts) if self.rescale else self.buckets
        return straight_through(made, self._placed(buckets) * self.spread(self.unit))

    def _placed(self, values: Tensor) -> Tensor:
        return values.index_select(0, self.index).reshape(self.shape) * self.sign

    @torch.no_grad()
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        values, step = rounded_values(self.buckets)
        return self.store(values.long().numpy()), (step * self.unit).double().numpy()

    @abstractmethod
    def store(self, buckets: np.ndarray) -> Code:
        """The code of integer buckets (count,)."""


class HashedCoder(BucketCoder):
    """HashedNets (Chen et al., ICML 2015) with the hash of `organza.codes.hashed`: xxHash32 of a weight's place.

    Parameters
    ----------
    factor : weights for a bucket, 1…2^20. seed : of the hash; layers with different ones share in different ways.
    Others as `BucketCoder`.
    """

    kind = "hashed"

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, factor: int = 8, seed: int = 0, start: str = "weights",
        rescale: bool = False,
    ) -> None:  # fmt: skip
        self.factor = check_integer("hashed factor", factor, 1, 1 << 20)
        self.seed = check_integer("hashed seed", seed, 0, (1 << 32) - 1)
        count = -(-int(np.prod(shape)) // factor)
        index, sign = places(tuple(shape), count, seed)
        super().__init__(shape, groups, count, index, sign, start=start, rescale=rescale, seed=seed)

    def options(self) -> dict[str, Any]:
        return {"factor": self.factor, "seed": self.seed, "start": self.start, "rescale": self.rescale}

    def spec(self) -> CodeSpec:
        return CodeSpec("hashed", {"factor": self.factor, "seed": self.seed})

    def store(self, buckets: np.ndarray) -> Code:
        return Hashed(buckets, self.shape, self.seed)


class BlockHashCoder(BucketCoder):
    """Blocked hashing: a hash chooses the row of a lane word (Zhu et al., BHNN, ASP-DAC 2017; best reading of the
    abstract).

    Made for engines of `ti` × `to` lanes, see `organza.codes.blockhash`.

    Parameters
    ----------
    factor : about how many weights share a bucket; rows are a power of two. ti, to : lanes, or the layer's channels if
        fewer.
    Others as `BucketCoder`; seed : of the random start.
    """

    kind = "blockhash"

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, factor: int = 8, ti: int = 8, to: int = 4,
        start: str = "weights", rescale: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        self.factor = check_integer("blockhash factor", factor, 1, 1 << 20)
        self.lanes = check_integer("blockhash ti", ti, 1, 1 << 12), check_integer("blockhash to", to, 1, 1 << 12)
        self.seed = check_integer("blockhash seed", seed, 0, (1 << 32) - 1)
        self.rows, index, sign = BlockHash.places(tuple(shape), groups, factor, ti, to)
        super().__init__(shape, groups, int(np.prod(self.rows)), index, sign, start=start, rescale=rescale, seed=seed)

    def options(self) -> dict[str, Any]:
        ti, to = self.lanes
        return {
            "factor": self.factor, "ti": ti, "to": to, "start": self.start, "rescale": self.rescale, "seed": self.seed,
        }  # fmt: skip

    def spec(self) -> CodeSpec:
        ti, to = self.lanes
        return CodeSpec("blockhash", {"factor": self.factor, "ti": ti, "to": to})

    def store(self, buckets: np.ndarray) -> Code:
        return BlockHash(buckets.reshape(self.rows), self.shape, self.groups)


def compat_places(outputs: int, inputs: int, buckets: int, seed: int = COMPAT_SEED) -> tuple[np.ndarray, np.ndarray]:
    """Bucket (0…) and sign of the weights of a matrix (outputs, inputs) as the authors of HashedNets have it, int64.

    Key of weight (i, j), both from 1: the decimal numbers i, i + 1, i + 2 in a row, "_", j, j + 1, j + 2 in a row, then
    "idxW" for the bucket, hash mod buckets, and "xi_W" for the sign, − for an even hash. Only to compare with their
    networks: no chip has it.
    """

    def hashes(suffix: str) -> np.ndarray:
        left, right = (
            [f"{k}{k + 1}{k + 2}" for k in range(1, count + 1)] for count in (outputs, inputs)
        )
        return np.array([[xxh32(f"{i}_{j}{suffix}".encode(), seed) for j in right] for i in left], np.int64)

    return hashes("idxW") % buckets, hashes("xi_W") % 2 * 2 - 1
