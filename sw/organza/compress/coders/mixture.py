"""The mixture of Gaussians that soft weight sharing takes weights to be drawn from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 16384  # weights at a time: a table of them and 16 components stays in the cache


def log_densities(w: Tensor, means: Tensor, log_precisions: Tensor, log_mix: Tensor) -> Tensor:
    """log π_j + log N(w | μ_j, 1 / λ_j) of weights (n,) for components (j,), shape (j, n)."""
    constant = log_mix + 0.5 * log_precisions - 0.5 * math.log(2 * math.pi)
    return constant[:, None] - 0.5 * log_precisions.exp()[:, None] * (w - means[:, None]).square()


class MixtureLoss(torch.autograd.Function):
    """−Σ log Σ_j π_j N(w | μ_j, 1 / λ_j) of weights (n,): a number.

    Arguments as `log_densities`. The gradients need no more than the loss, so both are made at once, in chunks.
    """

    @staticmethod
    def forward(ctx: object, w: Tensor, means: Tensor, log_precisions: Tensor, log_mix: Tensor) -> Tensor:
        precisions = log_precisions.exp()[:, None]
        loss, gradient = w.new_zeros(()), torch.empty_like(w)
        by_mean, by_precision, by_mix = (torch.zeros_like(means) for _ in range(3))
        for start in range(0, len(w), CHUNK):
            part = w[start : start + CHUNK]
            densities = log_densities(part, means, log_precisions, log_mix)
            total = densities.logsumexp(0)
            share = (densities - total).exp_()
            loss -= total.sum()
            distance = part - means[:, None]
            pull = share * precisions * distance
            gradient[start : start + CHUNK] = pull.sum(0)
            by_mean -= pull.sum(1)
            by_precision += 0.5 * ((pull * distance).sum(1) - share.sum(1))
            by_mix -= share.sum(1)
        ctx.save_for_backward(gradient, by_mean, by_precision, by_mix)  # type: ignore[attr-defined]
        return loss

    @staticmethod
    def backward(ctx: object, *outer: Tensor) -> tuple[Tensor, ...]:
        return tuple(outer[0] * part for part in ctx.saved_tensors)  # type: ignore[attr-defined]


def likeliest(w: Tensor, means: Tensor, log_precisions: Tensor, log_mix: Tensor) -> Tensor:
    """Number of the component that most likely made each weight (n,), int64."""
    parts = w.split(CHUNK)
    return torch.cat([log_densities(part, means, log_precisions, log_mix).argmax(0) for part in parts])


def merged(means: Tensor, log_precisions: Tensor, nearness: float) -> list[list[int]]:
    """Components in groups whose Kullback-Leibler distance, in a chain of them, is below `nearness`, by lowest number."""
    precisions = log_precisions.exp()
    ratio = precisions[None] / precisions[:, None]
    distance = 0.5 * (ratio - ratio.log() - 1 + precisions[None] * (means[:, None] - means[None]).square())
    near = distance < nearness
    near = near | near.T
    groups: list[list[int]] = []
    free = set(range(len(means)))
    while free:
        group, edge = [], [min(free)]
        while edge:
            one = edge.pop()
            if one in free:
                free.remove(one)
                group.append(one)
                edge += [other for other in sorted(free) if near[one, other]]
        groups.append(sorted(group))
    return groups
