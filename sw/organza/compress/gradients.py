"""Rounding in training: what comes out is exactly the rounded value, what goes back is another value's gradient."""

from __future__ import annotations

from torch import Tensor


def straight_through(made: Tensor, source: Tensor) -> Tensor:
    """`made` forward, to the last bit, the gradient of `source` backward (Bengio et al., arXiv:1308.3432)."""
    return made.detach() + (source - source.detach())
