"""Which rank every layer gets: by energy, or all together within a budget of any cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from organza.compress.low_rank.factors import Factors, Rank
from organza.compress.sketch import Cost, macs
from organza.errors import UserError
from organza.float_layers import FloatLayer

# None: the layer stays as it is.
Choice = Rank | None
# Jumps of the search that spends what a budget leaves.
_JUMPS = (32, 16, 8, 4, 2, 1)


def saving_ranks(layer: FloatLayer, factors: Factors) -> list[Rank]:
    """Ranks whose factors multiply less than the layer, smallest first."""
    return [rank for rank in factors.ranks if macs(factors.sketch(rank)) < layer.macs]


def rank_of_energy(layer: FloatLayer, factors: Factors, energy: float) -> Choice:
    """The smallest rank that keeps a share `energy` of the squared weights; None if no rank that saves anything does.

    Ranks are tried by bisection: more components lose no more.
    """
    ranks = saving_ranks(layer, factors)
    low, high = 0, len(ranks)
    while low < high:
        middle = (low + high) // 2
        if factors.error(ranks[middle]) <= 1 - energy + 1e-12:
            high = middle
        else:
            low = middle + 1
    return ranks[low] if low < len(ranks) else None


@dataclass(frozen=True)
class Ladder:
    """The choices for one layer from the coarsest to leaving it as it is, with their relative errors, which fall."""

    layer: FloatLayer
    factors: Factors | None
    choices: tuple[Choice, ...]
    errors: tuple[float, ...]

    @classmethod
    def of(cls, layer: FloatLayer, factors: Factors | None) -> Ladder:
        """Ranks that save multiplications and lose less than every smaller one."""
        choices: list[Choice] = []
        errors: list[float] = []
        if factors is not None:
            for rank in saving_ranks(layer, factors):
                error = factors.error(rank)
                if not errors or error < errors[-1]:
                    choices.append(rank)
                    errors.append(error)
        return cls(layer, factors, (*choices, None), (*errors, 0.0))

    def step(self, error: float) -> int:
        """The first step with at most this error."""
        return next(step for step, own in enumerate(self.errors) if own <= error)

    def layers(self, step: int) -> list[FloatLayer]:
        """Layers of the shapes at a step."""
        choice = self.choices[step]
        return [self.layer] if self.factors is None or choice is None else self.factors.sketch(choice)


def check_budget(whole: Sequence[FloatLayer], options: Sequence[Factors | None], cost: Cost, budget: float) -> None:
    """Raise `UserError` if even the smallest ranks cost more than `budget`."""
    small: list[FloatLayer] = []
    for layer, factors in zip(whole, options, strict=True):
        ranks = [] if factors is None else saving_ranks(layer, factors)
        small += factors.sketch(ranks[0]) if factors is not None and ranks else [layer]
    least = cost(small)
    if least > budget:
        raise UserError(
            f"factorize: the smallest ranks still cost {least:g}, above the budget of {budget:g}; allow more, or prune channels "
            "first"
        )


def ranks_within(whole: Sequence[FloatLayer], options: Sequence[Factors | None], cost: Cost, budget: float) -> list[Choice]:
    """Ranks of all layers whose `cost` is at most `budget`, with a small sum of relative errors.

    By bisection the smallest error is found that all layers can have within the budget. What is left of it then goes, step
    by step, where it lowers the error most.

    whole : the layers as they are. options : for each its factorisations, None to leave it.

    Raises `UserError` if even the smallest ranks cost more.
    """
    check_budget(whole, options, cost, budget)
    ladders = [Ladder.of(layer, factors) for layer, factors in zip(whole, options, strict=True)]

    def price(steps: Sequence[int]) -> float:
        return cost([layer for ladder, step in zip(ladders, steps, strict=True) for layer in ladder.layers(step)])

    def at(error: float) -> list[int]:
        return [ladder.step(error) for ladder in ladders]

    levels = sorted({error for ladder in ladders for error in ladder.errors})
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if price(at(levels[middle])) <= budget:
            high = middle
        else:
            low = middle + 1
    steps = at(levels[low])
    for jump in _JUMPS:
        while True:
            gains = []
            for number, (ladder, step) in enumerate(zip(ladders, steps, strict=True)):
                to = min(step + jump, len(ladder.errors) - 1)
                if to > step:
                    gains.append((ladder.errors[step] - ladder.errors[to], number, to))
            for _, number, to in sorted(gains, reverse=True):
                trial = [*steps[:number], to, *steps[number + 1 :]]
                if price(trial) <= budget:
                    steps = trial
                    break
            else:
                break
    return [ladder.choices[step] for ladder, step in zip(ladders, steps, strict=True)]
