"""Stage `prune`: weights, vectors, kernels or channels go, at once or while the next `finetune` stage trains."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from organza.compress.chain import Chain
from organza.compress.finetune import BeforeStep, FinetuneConfig, to_values
from organza.compress.pruning.config import STRUCTURAL, PruneConfig
from organza.compress.pruning.evolution import PRESETS, EvolutionConfig, Fitness, evolve, prune_by
from organza.compress.pruning.schedule import Pruner, follow
from organza.compress.sketch import Cost, macs, sketch
from organza.compress.stages.finetune import initialise
from organza.compress.stages.quantize import calibrate
from organza.compress.stages.stage import Context, Mark, Module, Stage, State, chains, select
from organza.errors import UserError

# Purposes of random draws.
_LOOK, _RESTART, _EVOLVE = 50, 51, 52
# Images of which similarity compares feature maps, and that a search judges.
_BATCH = 128


class Search(BaseModel):
    """`search`, how criterion "evolutionary" searches; see `EvolutionConfig`.

    preset : "small" or "paper" sets population, generations and epochs; what else is said goes first. epochs : of fine-tuning of
    each individual before it is judged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    preset: Literal["small", "paper"] = "small"
    population: int | None = Field(default=None, ge=2, le=10_000)
    generations: int | None = Field(default=None, ge=1, le=10_000)
    epochs: float | None = Field(default=None, ge=0, le=1000)
    distance: float = Field(default=1.0, ge=0)
    size: float = Field(default=0.5, ge=0)
    cycles: float = Field(default=0.5, ge=0)
    least: int = Field(default=1, ge=1, le=1 << 16)

    def effort(self) -> tuple[int, int, float]:
        """Population, generations, epochs."""
        population, generations, epochs = PRESETS[self.preset]
        return (
            population if self.population is None else self.population,
            generations if self.generations is None else self.generations,
            epochs if self.epochs is None else self.epochs,
        )


class PruneStage(Stage):
    """Prune; see `PruneConfig` for the keys that both have.

    amount : share that goes; criterion "evolutionary" may do without, and then weighs size and cycles itself. schedule :
    "oneshot" is done here, the others while the next `finetune` stage trains; "during" also draws new weights for both networks.
    layers : names, all by default; channels are those that a layer makes.
    """

    kind: ClassVar[str] = "prune"

    criterion: str = "magnitude"
    granularity: str = "element"
    amount: float | None = None
    schedule: str = "oneshot"
    module: Module = "generator"
    scope: str = "layer"
    balanced: bool = False
    block: int = 16
    rounds: int = 5
    initial: float = 0.05
    ramp: float = 0.5
    merge: bool = False
    layers: list[str] | None = Field(default=None, min_length=1)
    search: Search | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _fits_together(self) -> PruneStage:
        config = self.config()
        searched = config.criterion == "evolutionary"
        if self.amount is None and not searched:
            raise ValueError("amount is missing: the share that goes")
        if self.search is not None and not searched:
            raise ValueError(f"search is for criterion evolutionary, not {self.criterion}")
        if searched and (self.module != "generator" or self.layers is not None):
            raise ValueError("criterion evolutionary searches the whole generator: leave module and layers out")
        return self

    def config(self) -> PruneConfig:
        """The settings of the methods."""
        return PruneConfig(
            criterion=self.criterion, granularity=self.granularity, amount=0.5 if self.amount is None else self.amount,
            schedule=self.schedule, scope=self.scope, balanced=self.balanced, block=self.block, rounds=self.rounds,
            initial=self.initial, ramp=self.ramp, merge=self.merge, seed=self.seed,
        )  # fmt: skip

    @property
    def structural(self) -> bool:
        """Whether channels leave the network."""
        return self.granularity in STRUCTURAL

    def marks(self) -> list[Mark]:
        named = None if self.layers is None else frozenset(self.layers)
        marks = [Mark(f"prune.{'channel' if self.structural else 'element'}", self.module, named)]
        if self.schedule != "oneshot":
            marks.append(Mark(f"scheduled.{'channel' if self.structural else 'element'}", self.module))
        if self.schedule == "during":
            marks.append(Mark("restart", "both"))
        return marks

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        if self.criterion == "evolutionary":
            return self._evolve(state, context)
        if self.schedule == "during":
            for number, chain in enumerate(chain for chain in (state.generator, state.critic) if chain is not None):
                initialise(chain, context.rng(_RESTART, self.seed, number))
        if self.schedule != "oneshot":
            return {"schedule": self.schedule}
        self._finish(state, context)
        for name, chain in chains(state, self.module, self.kind):
            calibrate(chain, context, generator=name == "generator")
        return self._notes(state)

    def before_step(self, state: State, context: Context) -> BeforeStep | None:
        if self.schedule == "oneshot" or context.rehearsal:
            return None
        return follow([pruner for _, pruner in self._pruners(state, context)])

    def after_training(self, state: State, context: Context) -> None:
        if self.schedule != "oneshot":
            self._finish(state, context)

    def rehearse(self, state: State, context: Context) -> None:
        if self.criterion != "evolutionary":
            self.apply(state, context)
            return
        _judge(context)
        config = PruneConfig(granularity="channel", amount=self.config().amount)
        Pruner(state.generator, config, state.generator.list, context.latents(2, _LOOK)).finish()

    def _finish(self, state: State, context: Context) -> None:
        for _, pruner in self._pruners(state, context):
            pruner.finish()

    def _pruners(self, state: State, context: Context) -> Iterator[tuple[str, Pruner]]:
        for name, chain in chains(state, self.module, self.kind):
            # A recipe's names are the generator's; the discriminator is pruned as a whole.
            layers = select(chain, self.layers if name == "generator" else None, self.kind)
            inputs = context.latents(_BATCH, _LOOK) if name == "generator" else to_values(context.teacher, context.images[:_BATCH])
            pruner = Pruner(chain, self.config(), layers, inputs)
            if self.structural:
                made = {width.name for width in pruner.widths}
                lost = [layer.name for layer in layers if layer.name not in made]
                if not made or (self.layers is not None and name == "generator" and lost):
                    raise UserError(f"prune: {lost[0]}: none of its channels can go, what the network makes and reads stays")
            yield name, pruner

    def _notes(self, state: State) -> dict[str, Any]:
        return {name: _shape(chain) for name, chain in chains(state, self.module, self.kind)}

    def _evolve(self, state: State, context: Context) -> dict[str, Any]:
        judge = _judge(context)
        search = self.search or Search()
        population, generations, epochs = search.effort()
        config = EvolutionConfig(
            population=population, generations=generations, distance=search.distance, size=search.size, cycles=search.cycles,
            least=search.least, amount=self.amount, seed=int(context.rng(_EVOLVE, self.seed).initial_seed()) % (1 << 31),
        )  # fmt: skip
        steps = round(epochs * (len(context.images) // FinetuneConfig().batch))

        def adapt(chain: Chain) -> None:
            if steps:
                context.finetune(State(chain, deepcopy(state.critic)), FinetuneConfig(steps=steps))
            else:
                calibrate(chain, context, generator=True)

        fitness = Fitness(state.generator, judge, context.latents(_BATCH, _LOOK), config, cost_of(context), adapt)

        def report(generation: int, generations: int, best: float) -> None:
            context.progress(f"generation {generation} of {generations}, fitness {best:.4g}", generation / generations)

        found = evolve(fitness, report=report)
        prune_by(state.generator, found.keep)
        calibrate(state.generator, context, generator=True)
        return {
            "best": found.best, "terms": found.terms, "evaluated": found.evaluated,
            "kept": int(np.count_nonzero(found.keep)), "channels": len(found.keep), **self._notes(state),
        }  # fmt: skip


def _judge(context: Context) -> Chain:
    if context.judge is None:
        raise UserError("prune: criterion evolutionary needs a discriminator to judge by; name one in [teacher]")
    return context.judge


def cost_of(context: Context) -> Cost:
    """Cycles from image to image by the cycle model; multiplications where there is none."""
    model = context.cost
    return macs if model is None else lambda layers: model(sketch(layers)).interval


@torch.no_grad()
def _shape(chain: Chain) -> dict[str, Any]:
    """Channels and kept weights of every layer."""
    return {
        layer.name: {
            "channels": [layer.shape[0], layer.co],
            "kept": 1.0 if layer.mask is None else float(layer.mask.float().mean()),
        }
        for layer in chain.list
        if not layer.passthrough
    }
