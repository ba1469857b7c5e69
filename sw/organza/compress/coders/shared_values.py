"""Real values that many weights share, as integers of 8 bits with one step."""

from __future__ import annotations

from torch import Tensor

from organza.compress.coders.rounding import steps

TOP = 127


def rounded_values(values: Tensor) -> tuple[Tensor, Tensor]:
    """Integers within ±127 like `values`, as floats, and their step (1,); without gradients."""
    values = values.detach()
    step = steps(values.abs().max().reshape(1) / TOP)
    return (values / step).round().clamp(-TOP, TOP), step

