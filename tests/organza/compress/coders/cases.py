"""Every coder with options that matter, and the weights that break careless ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from organza.compress.coders import CODERS, Coder

CASES: list[tuple[str, dict[str, Any]]] = [
    ("uniform", {"bits": 5}), ("uniform", {"bits": 2, "granularity": "tensor"}), ("uniform", {"bits": 16, "granularity": "network"}),
    ("minmax", {"bits": 1}), ("minmax", {"bits": 4, "granularity": "network"}), ("minmax", {"bits": 3, "granularity": "channel"}),
    ("log", {"bits": 1}), ("log", {"bits": 2, "granularity": "channel"}), ("log", {"bits": 5, "granularity": "network"}),
    ("tanh", {"bits": 1}), ("tanh", {"bits": 4, "granularity": "network"}), ("tanh", {"bits": 8}),
    ("jacob", {}), ("jacob", {"bits": 4, "granularity": "tensor", "momentum": 1.0}),
    ("em", {"bits": 1}), ("em", {"bits": 2, "granularity": "network"}), ("em", {"bits": 4, "granularity": "channel"}), ("em", {"bits": 8}),
    ("qmgan", {"bits": 1}), ("qmgan", {"bits": 6}), ("qmgan", {"bits": 1, "granularity": "channel"}), ("slimming", {}),
    ("binary", {}), ("binary", {"granularity": "channel"}), ("binary", {"granularity": "network"}),
    ("ternary", {}), ("ternary", {"threshold": "mean", "granularity": "channel", "scale": "learned"}),
    ("ternary", {"threshold": "sparsity", "sparsity": 0.7, "granularity": "channel", "per_byte": 5}),
    ("ternary", {"threshold": "sparsity", "granularity": "network"}), ("ternary", {"scale": "learned"}),
    ("flexpoint", {}), ("flexpoint", {"exponents": "managed", "gradients": False}),
    ("kmeans", {"centroids": 2}), ("kmeans", {"granularity": "channel"}), ("kmeans", {"centroids": 256}),
    ("soft", {}), ("soft", {"components": 4, "zero_share": 0.3, "rate": 20.0, "start": "range"}),
    ("hashed", {"factor": 4, "seed": 3}), ("hashed", {"factor": 1, "start": "random", "rescale": True}),
    ("blockhash", {"factor": 4, "ti": 3, "to": 2}), ("blockhash", {"start": "random"}),
    ("multihash", {"factor": 2}), ("multihash", {"factor": 8, "start": "random", "learn_scale": False}),
]  # fmt: skip
SHAPES = [((4, 6, 3, 2), 1), ((6, 2, 1, 3), 3), ((1, 1, 1, 1), 1)]
WEIGHTS = ("normal", "offset", "zero", "constant", "negative", "outlier", "tiny", "huge", "single", "channels")


def weights(kind: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Weights that are "normal", or one of the extremes of `WEIGHTS`."""
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    flat = made.reshape(-1)
    if kind == "offset":
        made += 100
    elif kind in ("zero", "constant", "negative", "single"):
        made.fill_({"zero": 0.0, "constant": 0.3, "negative": -7e-5, "single": 0.0}[kind])
        if kind == "single":
            flat[-1] = -2.5
    elif kind == "outlier":
        made *= 1e-6
        flat[0] = 1e6
    elif kind in ("tiny", "huge"):
        made *= {"tiny": 1e-25, "huge": 1e15}[kind]
    elif kind == "channels":
        made *= (10.0 ** torch.arange(shape[1]).sub(2)).reshape(1, -1, 1, 1)
        made[:, 0] = 0
    return made


def ready(kind: str, options: dict[str, Any], weight: Tensor, groups: int = 1, mask: Tensor | None = None) -> Any:
    """The coder after its first fit to (masked) `weight`, in evaluation."""
    shape = weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3]
    coder = CODERS[kind](shape, groups, **options)
    coder.refit(weight if mask is None else weight * mask, mask)
    return coder.eval()


def real(coder: Coder, weight: Tensor | None, mask: Tensor | None) -> Tensor:
    """What the code says the weights are: integers times scales in double precision, rounded to single."""
    coded = coder.coded(weight, mask)
    ci, cog, ky, kx = coder.shape
    scales = coded.scales.reshape(coder.groups, 1, cog, 1, 1)
    integers = coded.code.integers().reshape(coder.groups, ci // coder.groups, cog, ky, kx)
    return torch.from_numpy((integers * scales).astype(np.float32)).reshape(coder.shape)
