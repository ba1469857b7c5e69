"""Pixels as a generator makes them, and as pictures have them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from organza.compress.chain import Chain
from organza.sampling import from_uint8


def _low(chain: Chain) -> float:
    """What black is to the generator: 0 after a sigmoid, else -1; white is 1."""
    last = next(layer for layer in reversed(chain.list) if not layer.passthrough)
    return 0.0 if last.kind == "sigmoid" else -1.0


def to_values(chain: Chain, images: np.ndarray) -> Tensor:
    """Pictures uint8 (N, C, H, W) as `chain` would make them."""
    values = from_uint8(images)
    return values if _low(chain) else (values + 1) / 2


def to_pictures(chain: Chain, values: np.ndarray | Tensor) -> np.ndarray:
    """What `chain` makes as pictures, uint8."""
    low = _low(chain)
    bright = (np.asarray(values, dtype=np.float64) - low) / (1 - low)
    return np.rint(bright.clip(0, 1) * 255).astype(np.uint8)


@torch.inference_mode()
def pictures(chain: Chain, latents: Tensor, batch: int = 250) -> np.ndarray:
    """Pictures uint8 (N, C, H, W) of latents (N, channels, height, width)."""
    parts = [to_pictures(chain, chain(latents[start : start + batch])) for start in range(0, len(latents), batch)]
    return np.concatenate(parts)
