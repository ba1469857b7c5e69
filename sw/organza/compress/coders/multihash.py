"""Structured multi-hashing: the weights of a layer are the product of two trained factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import Code, MultiHash
from organza.codes.multihash import TOP, shift_of, side_of, terms_of, truncated
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_choice, check_flag, check_integer
from organza.compress.coders.coder import LEAST_SCALE, Coder
from organza.compress.coders.hashed import STARTS
from organza.compress.coders.shared_values import rounded_values
from organza.compress.gradients import straight_through


class MultiHashCoder(Coder):
    """w = s · b · (L · R) in row-major order, s learned (Eban et al., CVPR 2020), in the integers of `codes.MultiHash`.

    The paper has one pool for all layers; here every layer has its own, which the chip expands by itself. Entries of 8
    bits, their products shifted and clamped to 8 bits, and the gradient of the product straight through.

    Parameters
    ----------
    factor : how many times fewer numbers than weights, 1…2^20. learn_scale : s is trained, as in the paper, or stays.
    start : "weights": the largest singular values of the weights, over the root of their channel's mean square, and s
        the root of the layer's; "random", from `seed`: normally distributed entries, b · (L · R) has deviation 1, and s
        = 1/√(3 · inputs of an output). The paper's entries have deviation m^(−1/4); ours have that of weights, so that
        optimisers step alike, and b is the constant between the two.
    """

    kind = "multihash"
    owns = True
    prunes = False
    granularities = ("tensor",)
    unit: Tensor
    base: Tensor  # makes products have deviation 1

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, factor: int = 8, start: str = "weights",
        learn_scale: bool = True, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups)
        self.factor = check_integer("multihash factor", factor, 1, 1 << 20)
        self.start = check_choice("multihash start", start, STARTS)
        self.learn_scale = check_flag("multihash learn_scale", learn_scale)
        self.seed = check_integer("multihash seed", seed, 0, (1 << 32) - 1)
        n, m = side_of(shape), terms_of(shape, factor)
        generator = torch.Generator().manual_seed(seed)
        deviation = (3 * shape[0] // groups * shape[2] * shape[3]) ** -0.5
        self.left = nn.Parameter(torch.randn(n, m, generator=generator) * deviation)
        self.right = nn.Parameter(torch.randn(m, n, generator=generator) * deviation)
        self.scale = nn.Parameter(torch.full((1,), deviation), requires_grad=self.learn_scale)
        self.register_buffer("unit", torch.ones(self.co))
        self.register_buffer("base", torch.full((1,), m**-0.5 / deviation**2))

    def options(self) -> dict[str, Any]:
        return {"factor": self.factor, "start": self.start, "learn_scale": self.learn_scale, "seed": self.seed}

    def spec(self) -> CodeSpec:
        return CodeSpec("multihash", {"factor": self.factor})

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        """Take over weights, once."""
        if weight is None or self.start == "random":
            return
        self.unit.copy_(self.sizes(weight, None))
        size = weight.square().mean().sqrt().clamp_min(LEAST_SCALE)
        scaled = (weight / (self.spread(self.unit) * size)).double().numpy()
        factors = [torch.from_numpy(made) for made in truncated(scaled, self.left.shape[1])]
        entry = torch.cat([made.reshape(-1) for made in factors]).square().mean().sqrt().clamp_min(LEAST_SCALE)
        ratio = size.clamp(1e-6, 1e6) / entry  # the square of more would not be a float
        for factor, made in zip((self.left, self.right), factors, strict=True):
            factor.copy_(made * ratio)
        self.base.copy_(ratio**-2)
        self.scale.copy_(size)

    def _integers(self) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
        """Integer factors, their products in double precision, which is exact, shift, and scales (co,)."""
        (left, left_step), (right, right_step) = rounded_values(self.left), rounded_values(self.right)
        products = left.double() @ right.double()
        shift = shift_of(products.numpy())
        scales = self.scale.detach() * self.base * (left_step * right_step * 2.0**shift) * self.unit
        return left, right, products, shift, torch.where(scales.abs() < LEAST_SCALE, LEAST_SCALE, scales)

    def _shaped(self, products: Tensor) -> Tensor:
        return products.reshape(-1)[: int(np.prod(self.shape))].reshape(self.shape)

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        with torch.no_grad():
            _, _, products, shift, scales = self._integers()
            integers = ((self._shaped(products) + (1 << shift >> 1)) / 2.0**shift).floor().clamp(-TOP, TOP)
            made = integers.float() * self.spread(scales)
        factor = self.scale * self.base * self.spread(self.unit)
        return straight_through(made, self._shaped(self.left @ self.right) * factor)

    @torch.no_grad()
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        left, right, _, shift, scales = self._integers()
        return MultiHash(left.long().numpy(), right.long().numpy(), self.shape, shift), scales.double().numpy()
