"""The DCGAN generator and discriminator, and the description of a generator's shape.

Layer layout after Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks" (arXiv:1511.06434): transposed convolutions with
batch normalisation and ReLU up to a tanh, strided convolutions with leaky ReLU down to a logit,
weights drawn from N(0, 0.02).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

RESOLUTIONS = (32, 64)
CHANNELS = (1, 3)
_LEAK = 0.2
_INIT_STD = 0.02


def check_int(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is an int in [low, high]; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
    return value


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a DCGAN generator.

    latent: length of the latent vector, 1 to 1024.
    width: channels of the last hidden layer, 1 to 256; every earlier layer doubles it.
    resolution: side of the square output, 32 or 64.
    channels: colours of the output, 1 or 3.

    Raises TypeError for a field that is no int and ValueError for one out of range.
    """

    latent: int = 64
    width: int = 16
    resolution: int = 32
    channels: int = 1

    def __post_init__(self) -> None:
        check_int("latent", self.latent, 1, 1024)
        check_int("width", self.width, 1, 256)
        check_int("resolution", self.resolution, 1, 1 << 16)
        check_int("channels", self.channels, 1, 1 << 16)
        if self.resolution not in RESOLUTIONS:
            raise ValueError(f"resolution must be 32 or 64, got {self.resolution}")
        if self.channels not in CHANNELS:
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of each hidden layer: (4w, 2w, w) at 32, (8w, 4w, 2w, w) at 64."""
        first = self.resolution // 8
        return tuple(self.width * m for m in (8, 4, 2, 1) if m <= first)

    def to_dict(self) -> dict[str, int]:
        """Return the fields as a plain dictionary, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GeneratorConfig:
        """Build a config from `to_dict`'s result.

        Raises TypeError for a non-dictionary, ValueError for missing or unknown fields.
        """
        if not isinstance(values, dict):
            raise TypeError(f"generator config must be an object, got {type(values).__name__}")
        known = {f.name for f in fields(cls)}
        if set(values) != known:
            raise ValueError(
                f"generator config must have the fields {sorted(known)}, got {sorted(values)}"
            )
        return cls(**values)


class Generator(nn.Module):
    """Latent vectors to images: `net` is a flat `nn.Sequential`.

    `net` is ConvTranspose2d(latent, k4 s1 p0), BatchNorm2d, ReLU; then one ConvTranspose2d
    (k4 s2 p1), BatchNorm2d, ReLU per hidden width; then ConvTranspose2d to `channels`, Tanh. No
    convolution has a bias: batch normalisation supplies it, and the last layer needs none.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        if not isinstance(config, GeneratorConfig):
            raise TypeError(f"config must be a GeneratorConfig, got {type(config).__name__}")
        self.config = config
        layers: list[nn.Module] = []
        previous = config.latent
        for index, width in enumerate(config.widths):
            stride, padding = (1, 0) if index == 0 else (2, 1)
            layers += [
                nn.ConvTranspose2d(previous, width, 4, stride, padding, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            previous = width
        layers += [nn.ConvTranspose2d(previous, config.channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent) or (N, latent, 1, 1) to images (N, C, R, R) in [-1, 1]."""
        latent = self.config.latent
        if z.shape[1:] not in ((latent,), (latent, 1, 1)):
            raise ValueError(f"latents must have shape (N, {latent}), got {tuple(z.shape)}")
        return self.net(z.reshape(z.shape[0], latent, 1, 1))


class Discriminator(nn.Module):
    """Images (N, C, R, R) in [-1, 1] to one logit (or critic score) each, shape (N,).

    `normalise` adds batch normalisation after every hidden convolution but the first. A WGAN-GP
    critic must go without: its penalty is per sample, and batch statistics mix samples.
    """

    def __init__(
        self, *, resolution: int, channels: int, width: int, normalise: bool = True
    ) -> None:
        super().__init__()
        if resolution not in RESOLUTIONS:
            raise ValueError(f"resolution must be 32 or 64, got {resolution}")
        check_int("width", width, 1, 1024)
        check_int("channels", channels, 1, 1 << 16)
        self.settings = {"resolution": resolution, "channels": channels, "width": width, "normalise": normalise}
        layers: list[nn.Module] = []
        previous, side, current = channels, resolution, width
        while side > 4:
            use_norm = normalise and bool(layers)
            layers.append(nn.Conv2d(previous, current, 4, 2, 1, bias=not use_norm))
            if use_norm:
                layers.append(nn.BatchNorm2d(current))
            layers.append(nn.LeakyReLU(_LEAK))
            previous, current, side = current, current * 2, side // 2
        layers.append(nn.Conv2d(previous, 1, 4, 1, 0))
        self.net = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Score images (N, C, R, R); returns (N,)."""
        return self.net(images).flatten()


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights in place: N(0, 0.02), scales of batch normalisation N(1, 0.02), biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, _INIT_STD, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, _INIT_STD, generator=generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
