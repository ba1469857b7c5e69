"""The mixture of Gaussians that soft weight sharing takes weights to be drawn from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 16384  # weights at a time: a table of them and 16 components stays in the cache


def log_densities(w: Tensor, means: Tensor, log_precisions: Tensor, log_mix: Tensor) -> Tensor:
    """log π_j + log N(w | μ_j, 1 / λ_j) of weights (n,) for components (j,), shape (j, n).

    As polynomials in w, which one product of matrices evaluates.
    """
    precisions = log_precisions.exp()
    constant = log_mix + 0.5 * (log_precisions - math.log(2 * math.pi) - precisions * means.square())
    return torch.stack([constant, precisions * means, -0.5 * precisions], 1) @ powers(w)


def powers(w: Tensor) -> Tensor:
    """1, w and w² of weights (n,), shape (3, n)."""
    return torch.stack([torch.ones_like(w), w, w.square()])


class MixtureLoss(torch.autograd.Function):
    """−Σ log Σ_j π_j N(w | μ_j, 1 / λ_j) of weights (n,): a number.

    Arguments as `log_densities`. The gradients need no more than the loss, so both are made at once, in chunks.
    """

    @staticmethod
    def forward(ctx: object, w: Tensor, means: Tensor, log_precisions: Tensor, log_mix: Tensor) -> Tensor:
        precisions = log_precisions.exp()
        pulls = torch.stack([-precisions * means, precisions])
        loss, gradient = torch.zeros((), dtype=torch.float64), torch.empty_like(w)
        moments = torch.zeros(len(means), 3, dtype=torch.float64)  # Σ share · (1, w, w²)
        for start in range(0, len(w), CHUNK):
            part = w[start : start + CHUNK]
            densities = log_densities(part, means, log_precisions, log_mix)
            share = densities.softmax(0)  # far faster than exp on the CPU
            loss -= (densities.amax(0) - share.amax(0).log()).sum()
            constant, slope = pulls @ share
            gradient[start : start + CHUNK] = constant + slope * part
            moments += share @ powers(part).T
        count, first, second = moments.to(w).T
        by_mean = precisions * (means * count - first)
        by_precision = 0.5 * (precisions * (second - 2 * means * first + means.square() * count) - count)
        ctx.save_for_backward(gradient, by_mean, by_precision, -count)  # type: ignore[attr-defined]
        return loss.to(w)

    @staticmethod
    def backward(ctx: object, *outer: Tensor) -> tuple[Tensor, ...]:
        return tuple(outer[0] * part for part in ctx.saved_tensors)  # type: ignore[attr-defined]


def likeliest(w: Tensor, means: Tensor, log_precisions: Tensor, log_mix: Tensor) -> Tensor:
    """Number of the component that most likely made each weight (n,), int64."""
    parts = w.split(CHUNK)
    return torch.cat([log_densities(part, means, log_precisions, log_mix).argmax(0) for part in parts])


def merged(means: Tensor, log_precisions: Tensor, nearness: float) -> list[list[int]]:
    """Components in groups that are chains of Kullback-Leibler distances below `nearness`, by lowest number."""
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
