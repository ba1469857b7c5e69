"""Latents, images and grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from organza.models import Generator, GeneratorConfig
from organza.sampling import (
    draw_latents,
    from_uint8,
    generate,
    grid,
    producer,
    save_grid,
    seeded,
    to_uint8,
)


def test_streams_are_repeatable_and_apart() -> None:
    draws = [torch.rand(4, generator=seeded(*key)).tolist() for key in ((1, 2), (1, 2), (2, 1))]
    assert draws[0] == draws[1] != draws[2]
    z = draw_latents(20_000, 2, 3)
    assert z.shape == (20_000, 2) and z.dtype == torch.float32
    assert abs(z.mean().item()) < 0.02 and abs(z.std().item() - 1) < 0.02
    assert torch.equal(z[:5], draw_latents(20_000, 2, 3)[:5])


def test_every_byte_survives_the_way_to_float_and_back() -> None:
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_uint8(from_uint8(every)), every)


def test_producer_makes_what_the_generator_makes() -> None:
    model = Generator(GeneratorConfig(4, 1, 32, 1)).eval()
    z = draw_latents(5, 4, 0)
    with torch.no_grad():
        expected = to_uint8(model(z))
    assert np.array_equal(producer(model)(z.numpy()), expected)
    in_twos = np.concatenate(list(generate(model, z, batch=2)))
    assert np.abs(in_twos.astype(int) - expected).max() <= 1  # Sums may round differently.


def test_grid(tmp_path: Path) -> None:
    images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(2, 2).repeat(2, 3)
    assert grid(images, 2, gap=1)[:, :, 0].tolist() == [
        [96] * 7,
        [96, 0, 0, 96, 1, 1, 96],
        [96, 0, 0, 96, 1, 1, 96],
        [96] * 7,
        [96, 2, 2, 96, 96, 96, 96],
        [96, 2, 2, 96, 96, 96, 96],
        [96] * 7,
    ]
    save_grid(tmp_path / "g.png", images.repeat(3, axis=1), columns=3, zoom=2)
    with Image.open(tmp_path / "g.png") as picture:
        assert picture.mode == "RGB" and picture.size == (28, 12)
    with pytest.raises(TypeError, match="images must be a numpy array of uint8"):
        grid(images.astype(float), 2)
    with pytest.raises(ValueError, match=r"images must have shape .* got \(0, 1, 2, 2\)"):
        grid(images[:0], 2)
    assert to_uint8(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 128, 255]
