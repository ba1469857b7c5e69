"""Fine-tuning: a chain learns from real images and from its teacher, whatever stages have done to it.

Every random draw is keyed by (seed, purpose, step), so the same settings give the same weights again.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.compress.chain import Chain
from organza.compress.images import to_values
from organza.compress.losses import NEEDS_CRITIC, Pair, check_losses, check_networks, total
from organza.compress.signs import critic_entropy
from organza.errors import UserError
from organza.losses import LOSSES, PENALTY_WEIGHT, discriminator_loss, gradient_penalty
from organza.models import check_int
from organza.sampling import seeded

# Purposes of random draws, apart from those of `organza.training`.
_STEP, _ORDER, _CALIBRATE = 20, 21, 22
CRITICS = ("train", "frozen")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How to fine-tune.

    losses : weights of `organza.compress.losses`. loss : adversarial loss of `organza.losses`. critic : "train" lets the
    discriminator go on learning, "frozen" keeps it. lr, critic_lr : Adam's rates; both fall linearly to a tenth over the
    second half. refit : steps from one `Coder.refit` to the next. average : decay of the averaged weights, 0 for none.
    calibration : batches that batch normalisation is measured on in the end.
    entropy : weight of the discriminator's `representation_entropy`, about 0.01 to 0.1 where it is used.

    Raises TypeError / ValueError for wrong values.
    """

    steps: int = 1000
    batch: int = 128
    seed: int = 0
    losses: dict[str, float] = field(default_factory=lambda: {"adversarial": 1.0, "pixel": 10.0})
    loss: str = "dcgan"
    critic: str = "train"
    critic_steps: int = 1
    lr: float = 2e-4
    critic_lr: float = 2e-4
    refit: int = 20
    average: float = 0.999
    calibration: int = 40
    entropy: float = 0.0

    def __post_init__(self) -> None:
        check_int("steps", self.steps, 0, 10_000_000)
        check_int("batch", self.batch, 2, 4096)
        check_int("seed", self.seed, 0, (1 << 31) - 1)
        check_int("critic_steps", self.critic_steps, 1, 100)
        check_int("refit", self.refit, 1, 1_000_000)
        check_int("calibration", self.calibration, 1, 10_000)
        check_losses(self.losses)
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        if self.critic not in CRITICS:
            raise ValueError(f"critic must be one of {', '.join(CRITICS)}, not {self.critic!r}")
        for name in ("lr", "critic_lr"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be in (0, 1), not {getattr(self, name)}")
        if not 0 <= self.entropy < 1e3:
            raise ValueError(f"entropy must be at least 0, not {self.entropy}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be in [0, 1), not {self.average}")


class Diverged(UserError):
    """A loss was no number; `step` says when."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"training diverged at step {step}: a loss was {value}; use a smaller rate or other weights")
        self.step = step


@dataclass(frozen=True, eq=False)
class Networks:
    """What takes part: the student, which is trained, its critic, and the teacher's generator and discriminator.

    critic, judge : None where there is no discriminator; losses that ask for one are then refused.
    """

    student: Chain
    critic: Chain | None
    teacher: Chain
    judge: Chain | None


BeforeStep = Callable[[int, int], None]
Report = Callable[[int, int, float, float], None]


class Finetune:
    """Networks, averages and optimisers of one fine-tuning."""

    def __init__(self, networks: Networks, config: FinetuneConfig) -> None:
        self.config, self.networks = config, networks
        self.student, self.critic = networks.student, networks.critic
        self.teacher = frozen(networks.teacher)
        self.judge = None if networks.judge is None else Score(frozen(networks.judge))
        betas = (0.0, 0.9) if config.loss == "wgan-gp" else (0.5, 0.999)
        self.optimiser = torch.optim.Adam(_trained(self.student), lr=config.lr, betas=betas)
        self.critic_trained = [] if self.critic is None else _trained(self.critic)
        self.critic_optimiser = None
        if config.critic == "train" and self.critic_trained and any(config.losses.get(name) for name in NEEDS_CRITIC):
            self.critic_optimiser = torch.optim.Adam(self.critic_trained, lr=config.critic_lr, betas=betas)
        self.average = [parameter.detach().clone() for parameter in self.student.parameters()]

    def latents(self, count: int, *key: int) -> Tensor:
        """Normally distributed inputs."""
        return torch.randn(count, *self.student.input_shape, generator=seeded(self.config.seed, *key))

    def step(self, real: Tensor, step: int) -> tuple[float, float]:
        """One step of the critic, if anything is to be learnt from it, and one of the student; both losses."""
        config = self.config
        factor = min(1.0, 1 - 0.9 * (2 * step / config.steps - 1))
        self.optimiser.param_groups[0]["lr"] = config.lr * factor
        z = self.latents(len(real), _STEP, step)
        fake = self.student(z)
        d_loss = torch.zeros(())
        if self.critic_optimiser is not None:
            self.critic_optimiser.param_groups[0]["lr"] = config.critic_lr * factor
            d_loss = self._train_critic(real, fake.detach(), step, self.critic_optimiser)
        if (step + 1) % config.critic_steps:
            return d_loss.item(), 0.0
        # The critic's weights take no part in this pass; without their gradients it is cheaper.
        for parameter in self.critic_trained:
            parameter.requires_grad_(False)
        with torch.no_grad():
            target = self.teacher(z)
        critic = None if self.critic is None else Score(self.critic)
        pair = Pair(fake, target, critic, self.judge, config.loss, real, self._mix(len(real), step))
        g_loss = total(config.losses, pair) + self.student.penalty()
        self.optimiser.zero_grad()
        g_loss.backward()
        self.optimiser.step()
        for parameter in self.critic_trained:
            parameter.requires_grad_(True)
        decay = min(config.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average, self.student.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return d_loss.item(), g_loss.item()

    def _train_critic(self, real: Tensor, fake: Tensor, step: int, optimiser: torch.optim.Optimizer) -> Tensor:
        assert self.critic is not None
        config, score = self.config, Score(self.critic)
        loss = discriminator_loss(config.loss, score(real), score(fake))
        whole = loss + self.critic.penalty()
        if config.entropy:
            whole = whole + config.entropy * critic_entropy(self.critic, torch.cat([real, fake]))
        if config.loss == "wgan-gp":
            whole = whole + PENALTY_WEIGHT * gradient_penalty(score, real, fake, self._mix(len(real), step))
        optimiser.zero_grad()
        whole.backward()
        optimiser.step()
        return loss

    def _mix(self, count: int, step: int) -> Tensor:
        """Where between real and generated images the gradient penalty is taken."""
        return torch.rand(count, 1, 1, 1, generator=seeded(self.config.seed, _STEP, step, 1))

    def finish(self) -> None:
        """Put the averaged weights into the student, fit its codes to them, measure its normalisation again."""
        with torch.no_grad():
            if self.config.average:
                for parameter, mean in zip(self.student.parameters(), self.average, strict=True):
                    parameter.copy_(mean)
            self.student.refit()
            for layer in self.student.list:
                layer.end_training()
        self.student.calibrate(self.latents(128, _CALIBRATE, batch) for batch in range(self.config.calibration))
        self.student.eval()


class Score(torch.nn.Module):
    """A discriminator as a chain: images (N, C, H, W) to scores (N,)."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain

    def forward(self, images: Tensor) -> Tensor:
        """(N,)"""
        return self.chain(images).flatten(1).mean(1)


def frozen(chain: Chain) -> Chain:
    """A copy that is never trained, in evaluation mode."""
    return deepcopy(chain).eval().requires_grad_(False)


def _trained(chain: Chain) -> list[torch.nn.Parameter]:
    return [parameter for parameter in chain.parameters() if parameter.requires_grad]


def finetune(
    networks: Networks,
    images: np.ndarray,
    config: FinetuneConfig,
    *,
    before_step: BeforeStep | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train `networks.student` (and its critic) in place on images, uint8 (N, C, H, W); what there is to say of it.

    before_step : called with (step, steps) before every step, for schedules that change masks or codes. report : called with
    (step, steps, critic's loss, student's loss) after every step.

    Raises `UserError` for images that do not fit, `Diverged` for a loss that is no number; the networks are then of no use.
    """
    shape = networks.student.output_shape
    if images.shape[1:] != shape:
        raise UserError(f"images must have shape (N, {', '.join(map(str, shape))}) as the generator makes, not {images.shape}")
    if len(images) < config.batch:
        raise UserError(f"images must be at least one batch ({config.batch}), not {len(images)}")
    check_networks(config.losses, critic=networks.critic is not None, judge=networks.judge is not None)
    run = Finetune(networks, config)
    both = [networks.student] if networks.critic is None else [networks.student, networks.critic]
    for network in both:
        network.train()
    per_epoch = len(images) // config.batch
    losses = (0.0, 0.0)
    order = np.arange(0)
    for step in range(config.steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(images), generator=seeded(config.seed, _ORDER, step // per_epoch)).numpy()
        if step % config.refit == 0:
            for network in both:
                network.refit()
        if before_step is not None:
            before_step(step, config.steps)
        start = step % per_epoch * config.batch
        losses = run.step(to_values(networks.student, images[order[start : start + config.batch]]), step)
        for value in losses:
            if not np.isfinite(value):
                raise Diverged(step + 1, value)
        if report is not None:
            report(step + 1, config.steps, *losses)
    run.finish()
    if networks.critic is not None:
        networks.critic.eval()
    return {"steps": config.steps, "critic_loss": losses[0], "student_loss": losses[1]}
