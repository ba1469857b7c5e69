"""Flexpoint weights: 16-bit mantissas that share an exponent, predicted by Autoflex while they are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.codes import Code, Flexpoint
from organza.codes.flexpoint import FROZEN, MANAGED
from organza.codes.spec import CodeSpec
from organza.compress.activations import ActivationGrid, Grid
from organza.compress.coders.checks import check_choice, check_flag
from organza.compress.coders.coder import Coder
from organza.compress.flex import FlexGrid
from organza.exponents import MANTISSA_BITS


class FlexpointCoder(Coder):
    """Weights as a tensor of flex16+5 (Köster et al., NIPS 2017); inputs of 16 bits are flexpoint tensors too.

    Parameters
    ----------
    exponents : of the layer's input on the chip: "frozen" as training left it, "managed" picked from image to image.
    gradients : round the gradients of weights and inputs as well, as the paper trains.
    """

    kind = "flexpoint"
    granularities = ("tensor",)

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, exponents: str = FROZEN, gradients: bool = True
    ) -> None:
        super().__init__(shape, groups)
        self.exponents = check_choice("flexpoint exponents", exponents, (FROZEN, MANAGED))
        self.flex = FlexGrid(check_flag("flexpoint gradients", gradients))

    def options(self) -> dict[str, Any]:
        return {"exponents": self.exponents, "gradients": self.flex.gradients}

    def spec(self) -> CodeSpec:
        return CodeSpec("flexpoint", {"exponents": MANAGED} if self.exponents == MANAGED else {})

    def grid(self, bits: int, signed: bool) -> Grid:
        return FlexGrid(self.flex.gradients) if bits == MANTISSA_BITS else ActivationGrid(bits, signed)

    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        """Find the first exponent, once."""
        if weight is not None:
            self.flex.values.start(weight)

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        assert weight is not None
        return self.flex(weight)

    @torch.no_grad()
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        assert weight is not None
        form = self.flex.format
        mantissas = form.quantize(weight.double().numpy())
        exponent = int(self.flex.values.exponent)
        return Flexpoint(mantissas, exponent), np.array([2.0**exponent])
