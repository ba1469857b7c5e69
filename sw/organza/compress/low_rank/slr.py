"""Sparse low rank: unimportant rows of the factors keep fewer components (Swaminathan et al., Neurocomputing, 2020).

The components of a separable factorisation come in the order of their singular values. Of the rows of U, one for every input
channel and vertical tap, and of the columns of V, one for every output channel and horizontal tap, the least important
keep the leading ones only. Their bound becomes a mask, which fine-tuning keeps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from organza.compress.chain import Chain, ChainLayer

IMPORTANCES = ("weight", "activation", "cost")


def bounds(importance: np.ndarray, rank: int, share: float, short: float) -> np.ndarray:
    """Components that every row keeps: `rank`, but round(`short`·rank), at least 1, of the `share` least important ones."""
    made = np.full(len(importance), rank)
    order = np.argsort(importance, kind="stable")
    made[order[: int(share * len(order) + 0.5)]] = max(1, int(short * rank + 0.5))
    return made


def shorten(vertical: ChainLayer, horizontal: ChainLayer, rows: np.ndarray, columns: np.ndarray) -> None:
    """Mask two layers of a separable factorisation so that rows and columns keep as many leading components as they say.

    rows : (ci, ky). columns : (groups, co // groups, kx). Values left: Σ rows + Σ columns, by the paper's formula
    (m + n)·((1 − sr)·k + sr·rr·k).
    """
    rank = vertical.shape[1]
    component = np.arange(rank)
    keep_rows = component[None, :, None] < rows[:, None, :]
    keep_columns = component[None, :, None, None] < columns[:, None]
    vertical.mask = torch.from_numpy(keep_rows[..., None])
    horizontal.mask = torch.from_numpy(keep_columns.reshape(horizontal.shape[0], -1, 1, columns.shape[-1]))


def weight_importance(layer: ChainLayer) -> tuple[np.ndarray, np.ndarray]:
    """SLR-w: Σ|w| of every row (ci, ky) and column (groups, co // groups, kx) of the unfactorised layer."""
    weight = layer.effective_weight().detach().abs().double()
    grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
    return weight.sum((1, 3)).numpy(), grouped.sum((1, 3)).numpy()


@torch.no_grad()
def activation_importance(chain: Chain, number: int, inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """SLR-a: mean |activation| of the channels that layer `number` reads and makes, the same for all taps of a channel."""
    layer, training = chain.list[number], chain.training
    maps = [inputs.reshape(len(inputs), *chain.input_shape), *chain.eval().all(inputs)]
    chain.train(training)
    read, made = (value.abs().double().mean((0, 2, 3)).numpy() for value in maps[number : number + 2])
    rows = np.repeat(read[:, None], layer.y.kernel, 1)
    return rows, np.repeat(made.reshape(layer.groups, -1, 1), layer.x.kernel, 2)


@torch.no_grad()
def cost_importance(
    chain: Chain, number: int, rank: int, short: float, loss: Callable[[Chain], float]
) -> tuple[np.ndarray, np.ndarray]:
    """SLR-c: how much `loss` of a factorised chain grows when one row or column alone is shortened.

    number : of the vertical layer in `chain`; the horizontal one follows. One pass for every row and column.
    """
    vertical, horizontal = chain.list[number : number + 2]
    assert vertical.weight is not None and horizontal.weight is not None
    first = max(1, int(short * rank + 0.5))
    before = loss(chain)
    rows = np.zeros((vertical.shape[0], vertical.shape[2]))
    columns = np.zeros((horizontal.groups, horizontal.shape[1], horizontal.shape[3]))
    grouped = horizontal.weight.view(horizontal.groups, rank, *horizontal.shape[1:])
    for place in np.ndindex(rows.shape):
        with _cut(vertical.weight[place[0], first:, place[1]]):
            rows[place] = loss(chain) - before
    for group, channel, tap in np.ndindex(columns.shape):
        with _cut(grouped[group, first:, channel, 0, tap]):
            columns[group, channel, tap] = loss(chain) - before
    return rows, columns


class _cut:  # noqa: N801 - used as a statement
    """Zeros in a view of weights for as long as the context lasts."""

    def __init__(self, view: Tensor) -> None:
        self.view, self.kept = view, view.clone()

    def __enter__(self) -> None:
        self.view.zero_()

    def __exit__(self, *error: object) -> None:
        self.view.copy_(self.kept)
