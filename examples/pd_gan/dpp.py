"""Determinantal point processes: the most likely list for a user, greedily, from a whole kernel or from its factor.

Of a list S with kernel L = Diag(r)·K·Diag(r) the likelihood is det(L_S): relevant items, and items unlike each other. Greedy
search adds the item that makes the determinant largest (Chen et al., Fast Greedy MAP Inference for DPP, NeurIPS 2018):
d_i² is what item i would multiply it with, and one row of K is all that a new item needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_LEAST = 1e-9


def greedy_list(relevance: np.ndarray, diagonal: np.ndarray, row: Callable[[int], np.ndarray], length: int) -> list[int]:
    """The greedy list of one user.

    relevance (items,) : r, above 0. diagonal (items,) : of K. row : K's row (items,) of an item, which is the Gram product
    V·v_i when K = V·Vᵀ.
    """
    gain = relevance**2 * diagonal
    seen: list[np.ndarray] = []
    chosen: list[int] = []
    left = np.ones(len(gain), bool)
    for _ in range(length):
        item = int(np.where(left, gain, -np.inf).argmax())
        left[item] = False
        chosen.append(item)
        kernel_row = relevance * relevance[item] * row(item)
        part = sum((past * past[item] for past in seen), np.zeros_like(gain))
        step = (kernel_row - part) / np.sqrt(max(gain[item], _LEAST))
        seen.append(step)
        gain = gain - step**2
    return chosen


def from_kernel(relevance: np.ndarray, kernel: np.ndarray, length: int) -> list[int]:
    """`greedy_list` with the whole kernel (items, items)."""
    return greedy_list(relevance, np.diag(kernel), lambda item: kernel[item], length)


def from_factor(relevance: np.ndarray, factor: np.ndarray, length: int) -> list[int]:
    """`greedy_list` with K = V·Vᵀ that is never written out; `factor` is V (items, d)."""
    return greedy_list(relevance, (factor**2).sum(1), lambda item: factor @ factor[item], length)


def low_rank(factor: np.ndarray, rank: int) -> np.ndarray:
    """The V' (items, rank) with which V'·V'ᵀ is nearest to V·Vᵀ: leading left singular vectors times singular values."""
    u, s, _ = np.linalg.svd(factor, full_matrices=False)
    return u[:, :rank] * s[:rank]


def sample_lists(relevance: Tensor, factor: Tensor, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Lists drawn item by item in proportion to d_i², as greedy search chooses by: (users, length), and their
    log-probabilities (users,) with gradients.

    relevance : (users, items). factor : (items, d).
    """
    users = torch.arange(len(relevance))
    gain = relevance**2 * factor.square().sum(1)
    left = torch.ones_like(gain, dtype=torch.bool)
    seen: list[Tensor] = []
    chosen, log_p = [], torch.zeros(len(relevance))
    for _ in range(length):
        weight = torch.where(left, gain.clamp_min(_LEAST), 0.0)
        share = weight / weight.sum(1, keepdim=True)
        item = torch.multinomial(share.detach(), 1, generator=generator)[:, 0]
        log_p = log_p + share[users, item].log()
        chosen.append(item)
        left = left.clone()
        left[users, item] = False
        kernel_row = relevance * relevance[users, item][:, None] * (factor[item] @ factor.T)
        part = sum((past * past[users, item][:, None] for past in seen), torch.zeros_like(gain))
        step = (kernel_row - part) / gain[users, item].clamp_min(_LEAST).sqrt()[:, None]
        seen.append(step)
        gain = gain - step**2
    return torch.stack(chosen, 1), log_p
