"""Generator, discriminator and their shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from organza.models import Discriminator, Generator, GeneratorConfig, initialise
from organza.sampling import seeded


def test_default_generator_is_the_documented_network() -> None:
    model = Generator(GeneratorConfig())
    convolutions = [m for m in model.net if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (64, 64),
        (64, 32),
        (32, 16),
        (16, 1),
    ]
    assert [(m.kernel_size[0], m.stride[0], m.padding[0]) for m in convolutions] == [
        (4, 1, 0),
        (4, 2, 1),
        (4, 2, 1),
        (4, 2, 1),
    ]
    assert all(m.bias is None for m in convolutions)
    assert sum(p.numel() for p in model.parameters()) == 106_976


@pytest.mark.parametrize(("resolution", "widths"), [(32, (8, 4, 2)), (64, (16, 8, 4, 2))])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(resolution: int, widths: tuple[int, ...], channels: int) -> None:
    config = GeneratorConfig(5, 2, resolution, channels)
    assert config.widths == widths
    model = Generator(config).eval()
    z = torch.randn(3, 5, generator=seeded(1)) * 100
    images = model(z)
    assert images.shape == (3, channels, resolution, resolution)
    assert images.abs().max() <= 1
    assert torch.equal(images, model(z.reshape(3, 5, 1, 1)))
    for normalise in (False, True):
        critic = Discriminator(
            resolution=resolution, channels=channels, width=4, normalise=normalise
        )
        assert critic(images).shape == (3,)
        assert any(isinstance(m, nn.BatchNorm2d) for m in critic.net) == normalise


def test_generator_refuses_other_latents() -> None:
    with pytest.raises(ValueError, match=r"latents must have shape \(N, 64\), got \(2, 63\)"):
        Generator(GeneratorConfig())(torch.zeros(2, 63))
    with pytest.raises(TypeError, match="config must be a GeneratorConfig, got int"):
        Generator(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="resolution must be 32 or 64, got 16"):
        Discriminator(resolution=16, channels=1, width=4)


def test_initialise_is_seeded_and_small() -> None:
    first, second = Generator(GeneratorConfig()), Generator(GeneratorConfig())
    initialise(first, seeded(3))
    initialise(second, seeded(3))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    weight = first.net[0].weight
    assert isinstance(weight, torch.Tensor)
    assert abs(weight.std().item() - 0.02) < 1e-3


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"latent": 0}, ValueError, r"latent must be in \[1, 1024\], got 0"),
        ({"latent": 1.0}, TypeError, "latent must be an int, got float"),
        ({"width": 257}, ValueError, r"width must be in \[1, 256\], got 257"),
        ({"width": True}, TypeError, "width must be an int, got bool"),
        ({"resolution": 28}, ValueError, "resolution must be 32 or 64, got 28"),
        ({"channels": 4}, ValueError, "channels must be 1 or 3, got 4"),
    ],
)
def test_config_is_checked(values: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        GeneratorConfig(**values)


def test_config_round_trip() -> None:
    config = GeneratorConfig(10, 4, 64, 3)
    assert GeneratorConfig.from_dict(config.to_dict()) == config
    with pytest.raises(TypeError, match="generator config must be an object, got list"):
        GeneratorConfig.from_dict([])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="generator config must have the fields"):
        GeneratorConfig.from_dict({"latent": 3})
