"""Stage `finetune`: training with the teacher, in whatever codes and masks the networks have by now."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from organza.compress.chain import Chain
from organza.compress.finetune import FinetuneConfig
from organza.compress.losses import NEEDS_CRITIC, check_losses
from organza.compress.stages.stage import Context, Mark, Stage, State
from organza.errors import UserError

_INIT_STD = 0.02
_FRESH = 31


class FinetuneStage(Stage):
    """Minimise `losses` for `steps` of `batch` images.

    losses : weights of `organza.compress.losses`. discriminator : "current" goes on with it as it is, "teacher" begins with the
    teacher's again, "fresh" draws its weights anew (Aguinaldo et al.: sources differ). train_discriminator : whether it learns.
    seed : for repetitions. The rest as of `FinetuneConfig`.
    """

    kind = "finetune"

    losses: dict[str, float] = Field(default_factory=lambda: {"adversarial": 1.0, "pixel": 10.0})
    steps: int = 1500
    batch: int = 128
    discriminator: Literal["current", "teacher", "fresh"] = "current"
    train_discriminator: bool = True
    discriminator_steps: int = 1
    lr: float = 2e-4
    discriminator_lr: float = 2e-4
    average: float = 0.999
    refit: int = 20
    entropy: float = 0.0
    seed: int = 0

    @field_validator("losses")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        check_losses(value)
        return value

    @model_validator(mode="after")
    def _config_is_valid(self) -> FinetuneStage:
        self.config()
        return self

    def config(self) -> FinetuneConfig:
        """The settings of the training."""
        return FinetuneConfig(
            steps=self.steps, batch=self.batch, seed=self.seed, losses=dict(self.losses),
            critic="train" if self.train_discriminator else "frozen", critic_steps=self.discriminator_steps, lr=self.lr,
            critic_lr=self.discriminator_lr, refit=self.refit, average=self.average, entropy=self.entropy,
        )  # fmt: skip

    def marks(self) -> list[Mark]:
        marks = [Mark("finetune")]
        if self.discriminator != "current":
            marks.append(Mark("restart", "discriminator"))
        return marks

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        if self.discriminator != "current" and any(self.losses.get(name) for name in NEEDS_CRITIC):
            state.critic = self._critic(context)
        scheduled = [step for stage in context.waiting if (step := stage.before_step(state, context)) is not None]

        def before_step(step: int, steps: int) -> None:
            for call in scheduled:
                call(step, steps)

        notes = context.finetune(state, self.config(), before_step if scheduled else None)
        for stage in context.waiting:
            stage.after_training(state, context)
        return notes

    def _critic(self, context: Context) -> Chain:
        if context.judge is None:
            raise UserError(f"finetune.discriminator: {self.discriminator!r} needs a discriminator; name one in [teacher]")
        chain = deepcopy(context.judge)
        if self.discriminator == "fresh":
            initialise(chain, context.rng(_FRESH, self.seed))
        return chain


@torch.no_grad()
def initialise(chain: Chain, rng: torch.Generator) -> None:
    """Weights as `organza.models.initialise` draws them, N(0, 0.02), scales of normalisation N(1, 0.02), no bias."""
    for layer in chain.list:
        if layer.weight is not None and not layer.passthrough:
            nn.init.normal_(layer.weight, 0.0, _INIT_STD, generator=rng)
        if layer.bias is not None:
            layer.bias.zero_()
        if layer.norm is not None:
            layer.norm.reset_running_stats()
            nn.init.normal_(layer.norm.weight, 1.0, _INIT_STD, generator=rng)
            nn.init.zeros_(layer.norm.bias)
