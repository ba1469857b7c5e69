"""What a compressed generator minimises beside its coders' penalties: weighted terms of a recipe's `losses`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from organza.errors import UserError
from organza.losses import PENALTY_WEIGHT, discriminator_loss, generator_loss, gradient_penalty

# Yu and Pool's λ, of the discriminator's part.
_JUDGED = 0.5


@dataclass(frozen=True, eq=False)
class Pair:
    """One batch: images of student and teacher from the same latents, and what judges them.

    fake, target : (N, C, H, W) in [-1, 1]; `target` has no gradient. critic : the discriminator in training. judge : the
    teacher's discriminator, which stays as it was. Both are None where there is no discriminator. real : as many real images.
    mix : of a gradient penalty, (N, 1, 1, 1) in [0, 1].
    """

    fake: Tensor
    target: Tensor
    critic: nn.Module | None
    judge: nn.Module | None
    loss: str
    real: Tensor
    mix: Tensor


def adversarial(pair: Pair) -> Tensor:
    """The generator's loss against the discriminator in training."""
    assert pair.critic is not None
    return generator_loss(pair.loss, pair.critic(pair.fake))


def pixel(pair: Pair) -> Tensor:
    """Mean squared difference of the images (Aguinaldo et al., arXiv:1902.00159, equation of the per-pixel loss)."""
    return (pair.fake - pair.target).square().mean()


def pixel_l1(pair: Pair) -> Tensor:
    """Mean absolute difference of the images."""
    return (pair.fake - pair.target).abs().mean()


def class_(pair: Pair) -> Tensor:
    """Mean squared difference of the teacher discriminator's scores (survey's reading of Yu and Pool, arXiv:2007.01491)."""
    assert pair.judge is not None
    with torch.no_grad():
        wanted = pair.judge(pair.target)
    return (pair.judge(pair.fake) - wanted).square().mean()


def selfsup(pair: Pair) -> Tensor:
    """Yu and Pool (arXiv:2007.01491): relative differences of the loss terms that one discriminator gives to both images.

    The generator's term plus half the discriminator's, each |original − compressed| / |original|; with a gradient penalty ten
    times that of the penalties, in the same half. Classification and reconstruction belong to their StarGAN. The
    discriminator is the one in training, which should begin as the teacher's.
    """
    critic = pair.critic
    assert critic is not None
    fake, real = critic(pair.fake), critic(pair.real).detach()
    with torch.no_grad():
        target = critic(pair.target)
    generator = _relative(generator_loss(pair.loss, target), generator_loss(pair.loss, fake))
    judged = _relative(discriminator_loss(pair.loss, real, target), discriminator_loss(pair.loss, real, fake))
    if pair.loss == "wgan-gp":
        wanted = gradient_penalty(critic, pair.real, pair.target, pair.mix)
        judged = judged + PENALTY_WEIGHT * _relative(wanted, gradient_penalty(critic, pair.real, pair.fake, pair.mix))
    return generator + _JUDGED * judged


def _relative(original: Tensor, compressed: Tensor) -> Tensor:
    original = original.detach()
    return (original - compressed).abs() / original.abs().clamp_min(1e-6)


LOSSES: dict[str, Callable[[Pair], Tensor]] = {
    "adversarial": adversarial, "pixel": pixel, "pixel_l1": pixel_l1, "class": class_, "selfsup": selfsup,
}  # fmt: skip

# What a loss asks for beside the two generators.
NEEDS_CRITIC, NEEDS_JUDGE = ("adversarial", "selfsup"), ("class",)


def check_networks(weights: dict[str, float], *, critic: bool, judge: bool) -> None:
    """Raise `UserError` for a loss whose discriminator is not there."""
    for names, there in ((NEEDS_CRITIC, critic), (NEEDS_JUDGE, judge)):
        for name in names:
            if weights.get(name) and not there:
                raise UserError(f"loss {name} needs a discriminator; name one in [teacher], or leave the loss out")


def check_losses(weights: dict[str, float]) -> None:
    """Raise ValueError for an unknown loss, listing the known ones, a negative weight, or no weight above 0."""
    for name, weight in weights.items():
        if name not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {name!r}")
        if not weight >= 0:
            raise ValueError(f"weight of loss {name} must be at least 0, not {weight}")
    if not any(weights.values()):
        raise ValueError("losses must have a weight above 0")


def total(weights: dict[str, float], pair: Pair) -> Tensor:
    """The weighted sum."""
    parts = [weight * LOSSES[name](pair) for name, weight in weights.items() if weight]
    return sum(parts[1:], parts[0])
