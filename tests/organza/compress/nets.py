"""The smallest networks that everything of compression can be done to, for tests."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import torch
from torch import nn

from organza.compress.chain import Chain
from organza.compress.stages.stage import Context, State
from tests.organza.compress.test_chain import MODULES, randomised

LATENT, SHAPE = 6, (3, 8, 8)
IMAGES = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), dtype=np.uint8)


def generator(seed: int = 1) -> Chain:
    """6×1×1 → 8×4×4 → 3×8×8, normalised between, tanh."""
    return deepcopy(_generator(seed))


@cache
def _generator(seed: int) -> Chain:
    torch.manual_seed(seed)
    made = Chain.of(randomised(MODULES["dcgan"](), seed), torch.randn(2, LATENT, 1, 1)).eval()
    made.calibrate([torch.randn(2000, LATENT, 1, 1)])  # statistics of its own results, as a trained one has
    return made


def discriminator(seed: int = 2) -> Chain:
    """3×8×8 → 4×4×4 → a score."""
    return deepcopy(_discriminator(seed))


@cache
def _discriminator(seed: int) -> Chain:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 5, 3, 1, 1), nn.BatchNorm2d(5), nn.LeakyReLU(0.2),
        nn.Conv2d(5, 1, 4), nn.Flatten(0),
    )  # fmt: skip
    return Chain.of(randomised(module, seed), torch.randn(2, *SHAPE)).eval()


def state(seed: int = 1) -> State:
    """Both, to be changed."""
    return State(generator(seed), discriminator())


def context(**changes: object) -> Context:
    """A teacher equal to `state()`'s generator, and images of noise."""
    settings = {"teacher": generator(), "judge": discriminator(), "images": IMAGES, **changes}
    return Context(**settings)  # type: ignore[arg-type]
