"""Small networks with every kind of neighbourhood that channels can have."""

from __future__ import annotations

import torch
from torch import nn

from organza.compress.chain import Chain
from tests.organza.compress.test_chain import randomised


def _prelu(channels: int) -> nn.PReLU:
    made = nn.PReLU(channels)
    nn.init.uniform_(made.weight, 0.1, 0.9)
    return made


NETS = {
    "dcgan": lambda: nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.BatchNorm2d(6),
        nn.LeakyReLU(0.2), nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Tanh(),
    ),
    "depthwise": lambda: nn.Sequential(
        nn.Conv2d(6, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1),
        _prelu(4), nn.Conv2d(4, 2, 1),
    ),
    "groups": lambda: nn.Sequential(
        nn.ConvTranspose2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 12, 3, 2, 1, groups=2), _prelu(12),
        nn.Conv2d(12, 6, 3, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 2, 1),
    ),
    "shuffle": lambda: nn.Sequential(nn.ConvTranspose2d(6, 16, 3), _prelu(16), nn.PixelShuffle(2), nn.Conv2d(4, 2, 3, padding=1)),
    "view": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(6, 24), _prelu(24), nn.Unflatten(1, (6, 2, 2)), nn.Conv2d(6, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.ReLU(), nn.Upsample(scale_factor=2), _prelu(4), nn.ConvTranspose2d(4, 2, 3),
    ),
}  # fmt: skip


def net(name: str, seed: int = 0) -> Chain:
    """The chain of one of `NETS`, in evaluation, with random normalisation."""
    torch.manual_seed(seed)
    return Chain.of(randomised(NETS[name](), seed), inputs(2)).eval()


def inputs(count: int, seed: int = 1) -> torch.Tensor:
    """Latents (count, 6, 1, 1)."""
    return torch.randn(count, 6, 1, 1, generator=torch.Generator().manual_seed(seed))


def discriminator() -> Chain:
    """Of images 3×16×16, as "dcgan" makes them."""
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(6, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 1, 4), nn.Flatten(0),
    )  # fmt: skip
    return Chain.of(randomised(module, 3), torch.randn(2, 3, 16, 16)).eval()
