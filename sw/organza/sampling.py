"""Latents from a seed, images from a generator, and a grid of them as a PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from organza.checkpoint import write_atomically
from organza.models import Generator


def seeded(*key: int) -> torch.Generator:
    """A random generator whose stream depends on every number of `key` (each at least 0).

    Keying by (seed, purpose, step) instead of carrying one stream along is what lets a resumed
    run draw exactly what the uninterrupted one draws.
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def draw_latents(count: int, latent: int, seed: int) -> Tensor:
    """Standard normal latents, float32 (count, latent), the same for the same seed."""
    return torch.randn(count, latent, generator=seeded(seed, 1))


def to_uint8(images: Tensor) -> np.ndarray:
    """Images in [-1, 1] (any shape) to uint8: round((x + 1) * 127.5), half to even."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def from_uint8(images: np.ndarray) -> Tensor:
    """Images uint8 to float32 in [-1, 1]: x / 127.5 - 1."""
    return torch.from_numpy(images).float() / 127.5 - 1


@torch.inference_mode()
def generate(model: Generator, latents: Tensor, batch: int = 250) -> Iterator[np.ndarray]:
    """Yield uint8 (n, C, R, R), n <= batch, until every latent has its image."""
    for start in range(0, len(latents), batch):
        yield to_uint8(model(latents[start : start + batch]))


def producer(model: Generator) -> Callable[[np.ndarray], np.ndarray]:
    """A function from latents float32 (n, latent) to uint8 images (n, C, R, R), for scoring.

    Images are rounded to uint8, as an integer model's are: both are scored on what a screen shows.
    """

    def produce(latents: np.ndarray) -> np.ndarray:
        return np.concatenate(list(generate(model, torch.from_numpy(latents))))

    return produce


def grid(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Lay images uint8 (N, C, H, W) out row by row on grey; returns (rows, width, C) uint8.

    Raises TypeError unless uint8, ValueError unless 4-dimensional, not empty, 1 or 3 channels.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise TypeError("images must be a numpy array of uint8")
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape (N, 1 or 3, H, W), got {images.shape}")
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    out = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 96, np.uint8
    )
    for index, image in enumerate(images):
        top = gap + index // columns * (height + gap)
        left = gap + index % columns * (width + gap)
        out[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return out


def save_grid(path: str | Path, images: np.ndarray, columns: int = 10, zoom: int = 1) -> None:
    """Write `grid(images)` as a PNG, each pixel `zoom` times as wide and high."""
    pixels = grid(images, columns).repeat(zoom, axis=0).repeat(zoom, axis=1)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    write_atomically(Path(path), buffer.getvalue())
