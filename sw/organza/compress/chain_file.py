"""A chain in a safetensors file, whatever stages have done to it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from organza.checkpoint import FORMAT, load_checkpoint, load_into, save_checkpoint
from organza.compress.chain import Chain, ChainLayer
from organza.compress.coders import CODERS
from organza.compress.grids import GRIDS
from organza.compress.storage import Storage
from organza.float_layers import FloatLayer
from organza.geometry import Axis
from organza.graph import Activation, Norm

KIND = "chain"


def save_chain(path: str | Path, chain: Chain, metadata: dict[str, Any] | None = None) -> None:
    """Write `chain`, whole or not at all; `metadata` are further JSON values to keep with it."""
    records = [_record(layer) for layer in chain.list]
    save_checkpoint(path, chain.state_dict(), {**(metadata or {}), "kind": KIND, "layers": records})


def load_chain(path: str | Path) -> tuple[Chain, dict[str, Any]]:
    """A chain in evaluation mode, and its metadata.

    Raises FileNotFoundError without a file, ValueError for a file that holds anything else, as `checkpoint.load_checkpoint`.
    """
    tensors, metadata = load_checkpoint(path)
    if metadata.get("format") != FORMAT or metadata.get("kind") != KIND:
        raise ValueError(f"{path}: must hold a compressed generator, found {metadata.get('kind')!r}")
    try:
        chain = Chain(_layer(record) for record in metadata["layers"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: metadata 'layers': {error}") from error
    load_into(chain, tensors, path)
    return chain.eval(), metadata


def _record(layer: ChainLayer) -> dict[str, Any]:
    coder, grid = layer.coder, layer.grid
    return {
        "name": layer.name, "y": asdict(layer.y), "x": asdict(layer.x), "groups": layer.groups, "shape": list(layer.shape),
        "activation": layer.kind, "slopes": layer.slopes.requires_grad, "passthrough": layer.passthrough,
        "eps": None if layer.norm is None else layer.norm.eps, "bias": layer.bias is not None,
        "mask": layer.mask is not None,
        "coder": None if coder is None else {"kind": coder.kind, **coder.options()},
        "grid": None if grid is None else {"kind": grid.kind, **grid.settings()}, "storage": asdict(layer.storage),
        "bits": layer.bits,
    }  # fmt: skip


def _layer(record: dict[str, Any]) -> ChainLayer:
    shape, groups = tuple(record["shape"]), record["groups"]
    if len(shape) != 4 or min(shape) < 1 or np.prod(shape, dtype=float) > 1 << 30:
        raise ValueError(f"weights must have four positive sizes, not {shape}")
    co = shape[1] * groups
    ones = np.ones(co)
    norm = None
    if record["eps"] is not None:
        norm = Norm(mean=ones, variance=ones, weight=ones, bias=ones, eps=record["eps"])
    layer = ChainLayer(FloatLayer(
        name=record["name"], weights=np.zeros(shape), bias=ones * record["bias"], y=Axis(**record["y"]), x=Axis(**record["x"]),
        groups=groups, activation=Activation(record["activation"], ones), passthrough=record["passthrough"], norm=norm,
        bits=record["bits"],
    ))  # fmt: skip
    layer.slopes.requires_grad_(record["slopes"])
    if record["bias"] and layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(co))
    if record["mask"]:
        layer.mask = torch.zeros(shape, dtype=torch.bool)
    if record["coder"] is not None:
        options = dict(record["coder"])
        kind = options.pop("kind")
        if kind not in CODERS:
            raise ValueError(f"coder must be one of {', '.join(CODERS)}, not {kind!r}")
        layer.coder = CODERS[kind](shape, groups, **options)
        if layer.coder.owns:
            layer.weight = None
    if record["grid"] is not None:
        settings = dict(record["grid"])
        kind = settings.pop("kind")
        if kind not in GRIDS:
            raise ValueError(f"grid must be one of {', '.join(GRIDS)}, not {kind!r}")
        layer.grid = GRIDS[kind](**settings)
    layer.storage = Storage(**record["storage"])
    return layer
