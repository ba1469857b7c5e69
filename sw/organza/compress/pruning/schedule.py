"""When weights go: at once, in rounds, or along a ramp, through fine-tuning's hook before every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from organza.compress.chain import Chain, ChainLayer
from organza.compress.pruning.channels import close, closed_units, unit_scores, weakest, weakest_of_all
from organza.compress.pruning.config import STRUCTURAL, PruneConfig
from organza.compress.pruning.masks import mask_weights
from organza.compress.pruning.removal import remove_dead
from organza.compress.pruning.similarity import similar_units
from organza.compress.pruning.widths import Width, widths

# Masks change this often along a ramp: often enough for the cubic, seldom enough to cost nothing.
_RAMP_CHANGES = 50


def amount_at(config: PruneConfig, step: int, steps: int) -> float:
    """The share that is to be pruned before `step` of `steps`.

    Along a ramp s = s_f + (s_i − s_f)·(1 − t/T)³ (Zhu and Gupta, arXiv:1710.01878, eq. 1), changed at most 50 times.
    """
    if config.schedule == "oneshot":
        return config.amount
    if config.schedule == "iterative":
        return config.amount * (min(step * config.rounds // max(steps, 1), config.rounds - 1) + 1) / config.rounds
    length = config.ramp * steps
    if step >= length:
        return config.amount
    every = max(1, round(length / _RAMP_CHANGES))
    first = min(config.initial, config.amount)
    return config.amount + (first - config.amount) * (1 - step // every * every / length) ** 3


class Pruner:
    """Prunes one network bit by bit.

    Parameters
    ----------
    chain : changed in place. layers : those of it whose weights, or whose output channels, are pruned. inputs : a batch
    of inputs of the chain, which similarity looks at.
    """

    def __init__(self, chain: Chain, config: PruneConfig, layers: Sequence[ChainLayer], inputs: Tensor) -> None:
        self.chain, self.config, self.layers, self.inputs = chain, config, layers, inputs
        self.widths: list[Width] = []
        if config.granularity in STRUCTURAL:
            names = {layer.name for layer in layers}
            self.widths = [width for width in widths(chain) if width.name in names]
        self.pruned = 0.0

    def to(self, amount: float) -> None:
        """Prune until `amount` is gone; what is gone stays. Raises `UserError` for a layer that would be empty."""
        if amount <= self.pruned:
            return
        if self.config.granularity not in STRUCTURAL:
            mask_weights(self.layers, self.config, amount)
        elif self.config.criterion == "similarity":
            for width in self.widths:
                gone = closed_units(self.chain, width)
                close(self.chain, width, similar_units(self.chain, width, self.inputs, amount, merge=self.config.merge, gone=gone))
        else:
            scores = [unit_scores(self.chain, width, self.config) for width in self.widths]
            if self.config.scope == "network":
                chosen = weakest_of_all(self.widths, scores, amount)
            else:
                chosen = [weakest(width, score, amount) for width, score in zip(self.widths, scores, strict=True)]
            for width, units in zip(self.widths, chosen, strict=True):
                close(self.chain, width, units)
        self.pruned = amount

    def finish(self) -> int:
        """Prune what is left to prune, and remove channels that were closed, with any others that do nothing; how many."""
        self.to(self.config.amount)
        return remove_dead(self.chain) if self.config.granularity in STRUCTURAL else 0


def follow(pruners: Sequence[Pruner]) -> Callable[[int, int], None]:
    """The hook that keeps networks on their schedules."""

    def before_step(step: int, steps: int) -> None:
        for pruner in pruners:
            pruner.to(amount_at(pruner.config, step, steps))

    return before_step
