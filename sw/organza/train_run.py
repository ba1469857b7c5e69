"""The networks, averages and optimisers of a training run: one step, saving, restoring."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organza.checkpoint import load_into, save_checkpoint, save_discriminator, save_generator
from organza.losses import (
    PENALTY_WEIGHT,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from organza.models import Discriminator, Generator, initialise
from organza.sampling import draw_latents, generate, save_grid, seeded
from organza.train_config import TrainConfig

GENERATOR_FILE = "generator.safetensors"
DISCRIMINATOR_FILE = "discriminator.safetensors"
STATE_FILE = "state.safetensors"
SAMPLES_FILE = "samples.png"
# Purposes of random draws; `sampling.draw_latents` is 1 and shuffling, in `training`, 3.
_INIT, _STEP, _CALIBRATE = 2, 4, 5
_CALIBRATION_BATCHES = 80
_GRID = 100


class Run:
    """The networks, averages and optimisers of one training run."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        model = config.model
        self.g = Generator(model)
        self.d = Discriminator(
            resolution=model.resolution,
            channels=model.channels,
            width=config.critic_width,
            normalise=config.loss != "wgan-gp",
        )
        initialise(self.g, seeded(config.seed, _INIT, 0))
        initialise(self.d, seeded(config.seed, _INIT, 1))
        # The layout the CPU's convolutions prefer: a sixth faster than the default one.
        for module in (self.g, self.d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = deepcopy(self.g)
        betas = (0.0, 0.9) if config.loss == "wgan-gp" else (0.5, 0.999)
        self.g_opt = torch.optim.Adam(self.g.parameters(), lr=config.lr, betas=betas)
        self.d_opt = torch.optim.Adam(self.d.parameters(), lr=config.lr, betas=betas)

    def step(self, real: Tensor, step: int, steps: int) -> tuple[float, float | None]:
        """One discriminator update and, every `critic_steps`, one of the generator."""
        config = self.config
        rate = config.lr * min(1.0, 1 - 0.9 * (2 * step / steps - 1))
        for optimiser in (self.g_opt, self.d_opt):
            optimiser.param_groups[0]["lr"] = rate
        rng = seeded(config.seed, _STEP, step)
        fake = self.g(torch.randn(len(real), config.model.latent, generator=rng))
        frozen = fake.detach()
        d_loss = discriminator_loss(config.loss, self.d(real), self.d(frozen))
        total = d_loss
        if config.loss == "wgan-gp":
            mix = torch.rand(len(real), 1, 1, 1, generator=rng)
            total = d_loss + PENALTY_WEIGHT * gradient_penalty(self.d, real, frozen, mix)
        self.d_opt.zero_grad()
        total.backward()
        self.d_opt.step()
        if (step + 1) % config.critic_steps:
            return d_loss.item(), None
        # The discriminator's weights take no part in this pass; without their gradients it is
        # a third cheaper.
        self.d.requires_grad_(False)
        g_loss = generator_loss(config.loss, self.d(fake))
        self.g_opt.zero_grad()
        g_loss.backward()
        self.d.requires_grad_(True)
        self.g_opt.step()
        self._update_average(step)
        return d_loss.item(), g_loss.item()

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        # The first steps average over a window as short as the run so far, or the average would
        # remember the random start for thousands of steps.
        decay = min(self.config.ema, (step + 1) / (step + 10))
        for mean, value in zip(self.average.parameters(), self.g.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def averaged(self) -> Generator:
        """The averaged generator with the batch statistics of its own weights, to evaluate.

        Statistics collected under other weights would be wrong for the average, so they are
        measured again, as plain means over a fixed set of latents.
        """
        model = deepcopy(self.average if self.config.ema else self.g)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        model.train()
        rng = seeded(self.config.seed, _CALIBRATE)
        with torch.no_grad():
            for _ in range(_CALIBRATION_BATCHES):
                model(torch.randn(128, self.config.model.latent, generator=rng))
        return model.eval()

    def save(self, out: Path, step: int, report: dict[str, Any]) -> None:
        """Write the generator, the discriminator, samples and, last, the state that a resumed run reads."""
        model = self.averaged()
        metadata = {"training": self.config.to_dict(), "step": step, "report": report}
        save_generator(out / GENERATOR_FILE, model, metadata)
        save_discriminator(out / DISCRIMINATOR_FILE, self.d, metadata)
        latents = draw_latents(_GRID, self.config.model.latent, self.config.seed)
        save_grid(out / SAMPLES_FILE, np.concatenate(list(generate(model, latents))), zoom=2)
        save_checkpoint(out / STATE_FILE, self._tensors(), {**metadata, "kind": "training"})

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {}
        for name, model in self._models().items():
            tensors |= {f"{name}.{key}": value for key, value in model.state_dict().items()}
        for name, optimiser in (("g_opt", self.g_opt), ("d_opt", self.d_opt)):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
        return tensors

    def _models(self) -> dict[str, nn.Module]:
        return {"g": self.g, "d": self.d, "average": self.average}

    def restore(self, path: Path, tensors: dict[str, Tensor]) -> None:
        """Load what `save` wrote. Raises ValueError for a tensor too many, too few or misshapen."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, rest = key.partition(".")
            parts.setdefault(name, {})[rest] = tensor
        for name, model in self._models().items():
            load_into(model, parts.pop(name, {}), path)
        for name, optimiser in (("g_opt", self.g_opt), ("d_opt", self.d_opt)):
            _restore_adam(optimiser, parts.pop(name, {}), path, name)
        if parts:
            raise ValueError(f"{path}: tensors of {sorted(parts)[0]!r} are no part of a run")


def _restore_adam(
    optimiser: torch.optim.Adam, tensors: dict[str, Tensor], path: Path, name: str
) -> None:
    parameters = optimiser.param_groups[0]["params"]
    state: dict[int, dict[str, Tensor]] = {}
    if tensors:  # Empty before the optimiser's first step (wgan-gp, early).
        for index, parameter in enumerate(parameters):
            for key, shape in (
                ("step", torch.Size()),
                ("exp_avg", parameter.shape),
                ("exp_avg_sq", parameter.shape),
            ):
                tensor = tensors.pop(f"{index}.{key}", None)
                if tensor is None or tensor.shape != shape:
                    found = "none" if tensor is None else tuple(tensor.shape)
                    raise ValueError(
                        f"{path}: tensor '{name}.{index}.{key}' must have shape {tuple(shape)}, "
                        f"found {found}"
                    )
                state.setdefault(index, {})[key] = tensor
    if tensors:
        raise ValueError(f"{path}: tensor '{name}.{sorted(tensors)[0]}' is no part of a run")
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
