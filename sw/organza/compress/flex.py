"""Flexpoint in training: tensors, forward and backward, are rounded to mantissas with exponents of Autoflex."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from organza.autoflex import Autoflex, AutoflexSettings
from organza.compress.activations import Grid
from organza.exponents import MANTISSA_BITS
from organza.formats import Flex, Format

TOP = (1 << (MANTISSA_BITS - 1)) - 1
# Gradients are small: their 32 exponents begin lower than those that the chip knows.
BACKWARD = AutoflexSettings(low=-46, high=-15)


class FlexTensor(nn.Module):
    """Statistics of one tensor in one use, and rounding by them (Köster et al., Flexpoint, NIPS 2017).

    In training every call counts as one value of the tensor, and its exponent comes from the values before; the first
    exponent is found by making the value a few times. In evaluation the exponent stays. What is saved is the exponent;
    a tensor that was loaded begins with an empty memory.
    """

    exponent: Tensor
    started: Tensor

    def __init__(self, settings: AutoflexSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or AutoflexSettings()
        self.register_buffer("exponent", torch.full((1,), self.settings.held(0), dtype=torch.int32))
        self.register_buffer("started", torch.zeros(1, dtype=torch.bool))
        self._flex: Autoflex | None = None
        self._peak: int | None = None

    @property
    def overflows(self) -> int:
        """Values since the memory began that reached the largest mantissa."""
        return 0 if self._flex is None else self._flex.overflows

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Find the first exponent, once."""
        if not self.started:
            self._flex = Autoflex.initialised(lambda exponent: int(_mantissas(x, exponent).abs().max()), self.settings)
            self.exponent.fill_(self._flex.exponent)
            self.started.fill_(True)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """`x` rounded, without gradient."""
        self.start(x)
        if self.training and self._peak is not None:  # of the value before: its exponent was still in use until now
            if self._flex is None or self._flex.exponent != int(self.exponent):
                self._flex = Autoflex(int(self.exponent), self.settings)
            self.exponent.fill_(self._flex.update(self._peak))
        mantissas = _mantissas(x, int(self.exponent))
        self._peak = int(mantissas.abs().max()) if self.training else None
        return mantissas * 2.0 ** int(self.exponent)


def _mantissas(x: Tensor, exponent: int) -> Tensor:
    """Nearest mantissas, half up, as floats; adding a half first would round twice."""
    scaled = x / 2.0**exponent
    below = scaled.floor()
    return (below + (scaled - below >= 0.5)).clamp(-TOP - 1, TOP)


class _Rounded(torch.autograd.Function):
    """A value forward; backward its gradient where nothing was clamped, rounded too."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, made: Tensor, inside: Tensor, backward: FlexTensor | None) -> Tensor:
        ctx.save_for_backward(inside)
        ctx.flex = backward
        return made.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradient = outer[0] * ctx.saved_tensors[0]
        flex: FlexTensor | None = ctx.flex
        return gradient if flex is None or not flex.training else flex(gradient), None, None, None


class FlexGrid(Grid):
    """Values on the mantissas of a `Flex` format.

    gradients : in training, round what comes back as well, with statistics of its own.
    """

    kind = "flex"

    def __init__(self, gradients: bool = True) -> None:
        super().__init__()
        self.gradients = gradients
        self.values = FlexTensor()
        self.backwards = FlexTensor(BACKWARD) if gradients else None

    @property
    def format(self) -> Format:
        return Flex(int(self.values.exponent))

    def settings(self) -> dict[str, Any]:
        return {"gradients": self.gradients}

    def forward(self, v: Tensor) -> Tensor:
        made = self.values(v.detach())
        return _Rounded.apply(v, made, self.inside(v.detach()), self.backwards)  # type: ignore[return-value]

    def inside(self, v: Tensor) -> Tensor:
        """Where nothing is clamped."""
        scale = 2.0 ** int(self.values.exponent)
        return (v <= TOP * scale) & (v >= -(TOP + 1) * scale)
