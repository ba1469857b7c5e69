"""What every stage of a recipe is: a table of settings, and a change of the networks in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from organza.compress.chain import Chain, ChainLayer
from organza.compress.finetune import BeforeStep, FinetuneConfig, Networks, finetune
from organza.errors import UserError
from organza.program import Program
from organza.sampling import seeded

# Purpose of the random draws of stages, apart from those of training; the training of a stage is one of them.
_DRAW, _TRAIN = 30, 0

Module = Literal["generator", "discriminator", "both"]


@dataclass(frozen=True)
class Cost:
    """What the cycle model says of a Program: cycles of one image, from image to image, lanes, and lanes × issues."""

    cycles: int
    interval: int
    lanes: int
    macs_issued: int


@dataclass(eq=False)
class State:
    """What stages change in place, or put something else in its place.

    generator : being compressed. critic : the discriminator that it is trained against, None without one.
    """

    generator: Chain
    critic: Chain | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What stages may use and leave as it is.

    teacher, judge : the float generator and its discriminator (None without one). images : real ones, uint8 (N, C, H, W).
    loss : adversarial loss of `organza.losses`. seed, number : of the recipe and the stage; fix every draw. progress : called with what is going on and the
    fraction done. cost : the cycle model, None where there is none. score : how bad a generator's images are, FID where a network
    scores them, else the mean square difference to the teacher's. most_steps : no training takes more steps.
    waiting : stages since the last `finetune` stage whose work is done while the next one trains.
    """

    teacher: Chain
    judge: Chain | None
    images: np.ndarray
    loss: str = "dcgan"
    seed: int = 0
    number: int = 0
    progress: Callable[[str, float], None] = lambda text, fraction: None
    cost: Callable[[Program], Cost] | None = None
    score: Callable[[Chain], float] = lambda chain: 0.0
    most_steps: int | None = None
    waiting: tuple[Stage, ...] = ()
    rehearsal: bool = False

    def rng(self, *key: int) -> torch.Generator:
        """Random numbers for a purpose of the caller's own: numbers of at least 0."""
        return seeded(self.seed, _DRAW, self.number, *key)

    def latents(self, count: int, *key: int) -> Tensor:
        """Normally distributed inputs of the generator, float32 (count, channels, height, width)."""
        return torch.randn(count, *self.teacher.input_shape, generator=self.rng(*key))

    def batches(self, count: int, *key: int, size: int = 128) -> Iterable[Tensor]:
        """Latents for `Chain.calibrate`."""
        return (self.latents(size, *key, number) for number in range(count))

    def finetune(self, state: State, config: FinetuneConfig, before_step: BeforeStep | None = None) -> dict[str, Any]:
        """Train the networks of `state` in place, for at most `most_steps`; what `organza.compress.finetune` says of it.

        `loss` is the teacher's; `seed` is made of those of config, recipe and stage.
        """
        steps = config.steps if self.most_steps is None else min(config.steps, self.most_steps)
        seed = int(self.rng(_TRAIN, config.seed).initial_seed()) % (1 << 31)
        config = replace(config, steps=steps, loss=self.loss, seed=seed)
        if self.rehearsal:
            config = replace(config, steps=0, calibration=1)
        networks = Networks(state.generator, state.critic, self.teacher, self.judge)

        def report(step: int, steps: int, critic_loss: float, loss: float) -> None:
            self.progress(f"step {step} of {steps}, loss {loss:.4g}, discriminator's {critic_loss:.4g}", step / steps)

        return finetune(networks, self.images, config, before_step=before_step, report=report)


class Stage(BaseModel):
    """One `[[stage]]` table of a recipe.

    A subclass is one method or one family of methods; `kind` is the key of its table, its fields are the keys inside. It
    stands in `organza.compress.stages.STAGES`. Fields must say everything that the result depends on: a run resumes at
    the first stage whose fields have changed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: ClassVar[str]

    def marks(self) -> list[Mark]:
        """What the stage does, for the rules of `organza.compress.rules`."""
        return [Mark(self.kind)]

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        """Change `state`; what there is to say of it, as JSON values.

        Raises `UserError` naming layer and key for what this network does not allow.
        """
        raise NotImplementedError

    def rehearse(self, state: State, context: Context) -> None:
        """Do the same to a copy in seconds, before anything is trained, to find what does not go.

        `apply` with trainings of no step, unless a stage that takes long otherwise has something quicker.
        """
        self.apply(state, context)

    def before_step(self, state: State, context: Context) -> BeforeStep | None:
        """What is called with (step, steps) before every step of the next `finetune` stage, None for nothing.

        For schedules: what changes masks or codes while the networks are trained. `apply` was called before, perhaps in
        another process.
        """
        return None

    def after_training(self, state: State, context: Context) -> None:
        """Called after the `finetune` stage that `before_step` was for."""


@dataclass(frozen=True)
class Mark:
    """One thing that a stage does: a name that rules know, to one network or both, to some layers or all (None)."""

    name: str
    module: Module = "generator"
    layers: frozenset[str] | None = field(default=None)

    def meets(self, other: Mark) -> bool:
        """Whether both are done to the same layer of the same network."""
        if self.module != other.module and "both" not in (self.module, other.module):
            return False
        return self.layers is None or other.layers is None or bool(self.layers & other.layers)


def chains(state: State, module: Module, kind: str) -> list[tuple[str, Chain]]:
    """The networks of `module` with their names. Raises `UserError` for a discriminator that is not there."""
    made = [("generator", state.generator)] if module in ("generator", "both") else []
    if module in ("discriminator", "both"):
        if state.critic is None:
            raise UserError(f"{kind}: module {module!r} needs a discriminator; name one in [teacher]")
        made.append(("discriminator", state.critic))
    return made


def layer_names(chain: Chain) -> dict[str, str]:
    """Names of the layers by what a recipe may call them: the name, or layerN from 0."""
    names = [layer.name for layer in chain.list]
    return {f"layer{number}": name for number, name in enumerate(names)} | {name: name for name in names}


def select(chain: Chain, layers: Iterable[str] | None, kind: str) -> list[ChainLayer]:
    """The layers with weights of their own that a recipe names, in the chain's order; None takes all.

    Raises `UserError` for an unknown one, listing the known ones.
    """
    if layers is None:
        return [layer for layer in chain.list if not layer.passthrough]
    wanted = {layer_name(chain, name, kind) for name in layers}
    return [layer for layer in chain.list if layer.name in wanted]


def layer_name(chain: Chain, name: str, kind: str) -> str:
    """The name of the layer that a recipe calls `name`."""
    known = layer_names(chain)
    if name not in known:
        listed = ", ".join(f"layer{number} ({layer.name})" for number, layer in enumerate(chain.list))
        raise UserError(f"{kind}: unknown layer {name!r}; the network has {listed}")
    return known[name]
