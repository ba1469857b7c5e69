"""A genetic algorithm over channel masks, with size, the discriminator's distance and the accelerator's cycles in the fitness.

After Shu et al. (Co-evolutionary compression for unpaired image translation, ICCV 2019) with one generator: an individual has
one bit for every channel. The loop, the crossover and the survival of the fittest are pymoo's; roulette selection and mutation of
a random range are the paper's and stand here. The first individuals are masks by norm, which the search can only improve on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.mutation import Mutation
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.core.selection import Selection
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.optimize import minimize
from torch import Tensor

from organza.compress.chain import Chain
from organza.compress.pruning.channels import unit_scores, weakest
from organza.compress.pruning.config import STRUCTURAL, PruneConfig
from organza.compress.pruning.removal import remove_units
from organza.compress.pruning.widths import Structure, Width, widths
from organza.compress.sketch import Cost
from organza.models import check_int

# Individuals, generations and fine-tuning epochs of each individual: for minutes on a laptop, and as the paper has them.
# Amounts of the masks by norm that a free search begins with.
_BEGIN = (0.25, 0.5)
PRESETS = {"small": (12, 8, 0), "paper": (32, 50, 10)}


@dataclass(frozen=True, kw_only=True)
class EvolutionConfig:
    """How to search.

    population, generations : see `PRESETS`. distance, size, cycles : weights in the fitness of the three terms, each relative to
    the unpruned generator. crossover, mutation : probabilities. least : channels that a layer keeps (of each group).
    amount : share of the channels of every layer to prune exactly; None leaves it to the fitness.

    Raises TypeError / ValueError for wrong values.
    """

    population: int = PRESETS["small"][0]
    generations: int = PRESETS["small"][1]
    distance: float = 1.0
    size: float = 0.5
    cycles: float = 0.5
    crossover: float = 0.7
    mutation: float = 0.1
    least: int = 1
    amount: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("evolution population", self.population, 2, 10_000)
        check_int("evolution generations", self.generations, 1, 10_000)
        check_int("evolution least", self.least, 1, 1 << 16)
        check_int("evolution seed", self.seed, 0, (1 << 31) - 1)
        for name in ("distance", "size", "cycles"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"evolution {name} must be at least 0, not {getattr(self, name)}")
        for name in ("crossover", "mutation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"evolution {name} must be in [0, 1], not {getattr(self, name)}")
        if self.amount is not None and not 0 < self.amount < 1:
            raise ValueError(f"evolution amount must be in (0, 1), not {self.amount}")


@dataclass(frozen=True, kw_only=True)
class Evolved:
    """What the search found.

    keep : bool, every unit of every width in order. best : fitness of the best individual after every generation; it
    never rises. terms : of the best one, by name. evaluated : different individuals.
    """

    keep: np.ndarray
    best: list[float]
    terms: dict[str, float]
    evaluated: int


def prune_by(chain: Chain, keep: np.ndarray) -> None:
    """Remove the units whose bit is False; bits of all widths in order."""
    structure, start = Structure(chain), 0
    for width in structure.widths:
        bits = keep[start : start + width.units]
        start += width.units
        remove_units(structure, width, np.flatnonzero(~bits).tolist())


class Fitness:
    """Lower is better: weighted distance, size and cycles of a pruned copy of a generator.

    Distance is the mean squared difference of the judge's scores of pruned and unpruned images from the same latents, over
    the variance of the latter; size counts weights; cycles are `cost` of the layers, left out if None.

    Parameters
    ----------
    adapt : what is done to a pruned copy before it is judged, for example fine-tuning; by default its batch normalisation is
        measured again on `inputs`.
    """

    def __init__(
        self, chain: Chain, judge: Chain, inputs: Tensor, config: EvolutionConfig, cost: Cost | None = None,
        adapt: Callable[[Chain], None] | None = None,
    ) -> None:
        self.chain, self.judge, self.inputs, self.config, self.cost = chain, judge, inputs, config, cost
        self.adapt = adapt or (lambda pruned: pruned.calibrate([inputs]))
        self.scores = self._judged(chain)
        self.whole = self._sizes(chain)
        self.seen: dict[bytes, dict[str, float]] = {}

    @torch.no_grad()
    def _judged(self, chain: Chain) -> Tensor:
        training = chain.training
        made = self.judge.eval()(chain.eval()(self.inputs)).flatten(1).mean(1).double()
        chain.train(training)
        return made

    def _sizes(self, chain: Chain) -> dict[str, float]:
        made = {"size": float(sum(np.prod(layer.shape) for layer in chain.list if not layer.passthrough))}
        if self.cost is not None:
            made["cycles"] = float(self.cost(chain.float_layers()))
        return made

    def terms(self, keep: np.ndarray) -> dict[str, float]:
        """Distance, size and cycles of an individual, without their weights."""
        key = np.asarray(keep, bool).tobytes()
        if key not in self.seen:
            pruned = deepcopy(self.chain)
            prune_by(pruned, np.asarray(keep, bool))
            sizes = {name: value / self.whole[name] for name, value in self._sizes(pruned).items()}
            self.adapt(pruned)
            change = (self._judged(pruned) - self.scores).square().mean()
            spread = self.scores.var(unbiased=False).clamp_min(1e-12)
            self.seen[key] = {"distance": float(change / spread), **sizes}
        return self.seen[key]

    def __call__(self, keep: np.ndarray) -> float:
        return sum(getattr(self.config, name) * value for name, value in self.terms(keep).items())


def evolve(fitness: Fitness, *, report: Callable[[int, int, float], None] | None = None) -> Evolved:
    """Search with the best of every generation kept; the chain of `fitness` stays as it is.

    report : called with (generation, generations, best fitness) after every one.
    """
    config, best = fitness.config, []

    def after(algorithm: Any) -> None:
        best.append(float(algorithm.opt[0].F[0]))
        if report is not None:
            report(len(best), config.generations, best[-1])

    found = widths(fitness.chain)
    if not found:
        raise ValueError("the generator has no channels that can be pruned")
    bits = sum(width.units for width in found)
    if bits < 3:  # two points need a third place
        raise ValueError(f"the generator has {bits} channels that can be pruned, too few to search")
    operators: dict[str, Any] = {
        "sampling": _Keep(_norms(fitness.chain, found, config)), "selection": _Roulette(), "mutation": _FlipRange(prob=config.mutation),
        "crossover": TwoPointCrossover(prob=config.crossover), "repair": _Valid(found, config),
    }  # fmt: skip
    algorithm = GA(pop_size=config.population, eliminate_duplicates=True, **operators)
    result = minimize(
        _Problem(fitness, bits), algorithm, ("n_gen", config.generations), seed=config.seed, callback=after, verbose=False
    )
    keep = np.asarray(result.X, bool)
    return Evolved(keep=keep, best=best, terms=fitness.terms(keep), evaluated=len(fitness.seen))


class _Problem(ElementwiseProblem):
    def __init__(self, fitness: Fitness, bits: int) -> None:
        super().__init__(n_var=bits, n_obj=1, xl=0, xu=1, vtype=bool)
        self.fitness = fitness

    def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = self.fitness(x)


def _norms(chain: Chain, found: Sequence[Width], config: EvolutionConfig) -> np.ndarray:
    """Individuals to begin with: what pruning by norms would keep, (individuals, bits)."""
    made = []
    for granularity in STRUCTURAL:
        scores = [unit_scores(chain, width, PruneConfig(granularity=granularity)) for width in found]
        for amount in _BEGIN if config.amount is None else (config.amount,):
            bits = [np.ones(width.units, bool) for width in found]
            for own, width, score in zip(bits, found, scores, strict=True):
                own[weakest(width, score, amount)] = False
            made.append(np.concatenate(bits))
    return np.array(made)


class _Keep(Sampling):
    """Given individuals, and others that keep anything from half to nearly all channels."""

    def __init__(self, given: np.ndarray) -> None:
        super().__init__()
        self.given = given

    def _do(self, problem: Any, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> Any:
        share = random_state.uniform(0.5, 1.0, (n_samples, 1))
        made = random_state.random((n_samples, problem.n_var)) < share
        made[: len(self.given)] = self.given[:n_samples]
        return made


class _Roulette(Selection):
    """Parents drawn in proportion to how much better than the worst they are."""

    def _do(
        self, problem: Any, pop: Any, n_select: int, n_parents: int, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> np.ndarray:
        value = pop.get("F")[:, 0]
        weight = value.max() - value + 1e-3 * max(float(np.ptp(value)), 1e-12)
        return random_state.choice(len(pop), (n_select, n_parents), p=weight / weight.sum())


class _FlipRange(Mutation):
    """All bits of a random range turned over."""

    def _do(self, problem: Any, X: np.ndarray, *args: Any, random_state: Any = None, **kwargs: Any) -> np.ndarray:
        made = X.copy()
        for row in made:
            first, last = np.sort(random_state.choice(problem.n_var + 1, 2, replace=False))
            row[first:last] = ~row[first:last]
        return made


class _Valid(Repair):
    """Individuals that can be built: enough channels in every layer, the same ones of every channel group."""

    def __init__(self, found: Sequence[Width], config: EvolutionConfig) -> None:
        super().__init__()
        self.found, self.config = found, config

    def _do(self, problem: Any, X: np.ndarray, random_state: Any = None, **kwargs: Any) -> np.ndarray:
        made, start = np.array(X, bool), 0
        for width in self.found:
            size = width.units // width.blocks
            for row in made:
                bits = row[start : start + size].copy()
                low, high = min(self.config.least, size), size
                if self.config.amount is not None:
                    low = high = size - int(self.config.amount * size)
                for kept, wrong in ((False, low - bits.sum()), (True, bits.sum() - high)):
                    if wrong > 0:
                        bits[random_state.choice(np.flatnonzero(bits == kept), wrong, replace=False)] = not kept
                row[start : start + width.units] = np.tile(bits, width.blocks)
            start += width.units
        return made
