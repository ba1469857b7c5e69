"""The adversarial losses: what a discriminator and a generator minimise.

dcgan: binary cross-entropy with the non-saturating generator loss (Goodfellow et al.,
arXiv:1406.2661), real targets smoothed to one side (Salimans et al., arXiv:1606.03498).
lsgan: least squares on the logits (Mao et al., arXiv:1611.04076).
wgan-gp: Wasserstein critic with gradient penalty (Gulrajani et al., arXiv:1704.00028).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

LOSSES = ("dcgan", "wgan-gp", "lsgan")
PENALTY_WEIGHT = 10.0
_SMOOTH_REAL = 0.9


def discriminator_loss(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the discriminator from its scores (N,) of real and of generated images."""
    if loss == "dcgan":
        return F.binary_cross_entropy_with_logits(
            real, torch.full_like(real, _SMOOTH_REAL)
        ) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    if loss == "lsgan":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    if loss == "wgan-gp":
        return fake.mean() - real.mean()
    raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")


def generator_loss(loss: str, fake: Tensor) -> Tensor:
    """Loss of the generator from the discriminator's scores (N,) of its images."""
    if loss == "dcgan":
        return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
    if loss == "lsgan":
        return 0.5 * (fake - 1).square().mean()
    if loss == "wgan-gp":
        return -fake.mean()
    raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """(|gradient| - 1)^2 averaged over points between real and fake (N, C, H, W).

    `mix` (N, 1, 1, 1) in [0, 1] says where between: given, not drawn, so a run can be repeated.
    """
    points = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
