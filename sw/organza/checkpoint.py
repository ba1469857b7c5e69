"""Checkpoints: safetensors files with JSON metadata, written whole or not at all.

Safetensors rather than pickle because a checkpoint may come from anyone, and unpickling runs
whatever code the file holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from organza.models import Discriminator, Generator, GeneratorConfig

FORMAT = "organza-1"
_CONVERT = (
    "convert it where you trust it: "
    "safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors')"
)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write `tensors` and `metadata` (each value stored as JSON text) to `path`.

    Raises ValueError for a tensor holding NaN or an infinity: such a file could not be loaded.
    """
    path = Path(path)
    for key, tensor in tensors.items():
        _check_finite(path, key, tensor)
    text = {key: json.dumps(value, sort_keys=True) for key, value in metadata.items()}
    text["format"] = FORMAT
    contiguous = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
    write_atomically(path, save(contiguous, metadata=text))


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file; returns its tensors (on the CPU) and its metadata, JSON decoded.

    Metadata of files that Organza did not write is returned as the text it is.

    Raises TypeError for a path of the wrong kind, FileNotFoundError for none there, ValueError
    for a file that is a pickle, a zip or broken, and for a tensor holding NaN or an infinity.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"path must be a str or Path, got {type(path).__name__}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint file")
    _refuse_pickle(path)
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            raw = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                tensors[key] = file.get_tensor(key)
    except SafetensorError as error:
        raise ValueError(f"{path}: must be a whole safetensors file, found: {error}") from error
    for key, tensor in tensors.items():
        _check_finite(path, key, tensor)
    if raw.get("format") != FORMAT:
        return tensors, dict(raw)
    metadata: dict[str, Any] = {"format": FORMAT}
    for key, text in raw.items():
        if key == "format":
            continue
        try:
            metadata[key] = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: metadata {key!r} must be JSON, found {text!r}") from error
    return tensors, metadata


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy `tensors` into `model`, which must have exactly these names and shapes.

    `path` names the file in messages. Raises ValueError naming the first missing, extra or
    wrongly shaped tensor; the model is then unchanged.
    """
    wanted = model.state_dict()
    # A counter of batches seen, absent from older and foreign files; nothing here reads it.
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(set(wanted) - set(tensors) - optional)
    extra = sorted(set(tensors) - set(wanted))
    if missing:
        raise ValueError(
            f"{path}: tensor {missing[0]!r} is missing ({len(missing)} in all); "
            f"the file must hold every tensor of {type(model).__name__}"
        )
    if extra:
        raise ValueError(
            f"{path}: tensor {extra[0]!r} is not part of {type(model).__name__} "
            f"({len(extra)} such in all); check the model's configuration"
        )
    for key, tensor in tensors.items():
        if tensor.shape != wanted[key].shape:
            raise ValueError(
                f"{path}: tensor {key!r} must have shape {tuple(wanted[key].shape)}, "
                f"found {tuple(tensor.shape)}"
            )
        if tensor.is_floating_point() != wanted[key].is_floating_point():
            raise ValueError(
                f"{path}: tensor {key!r} must be of kind {wanted[key].dtype}, found {tensor.dtype}"
            )
    model.load_state_dict({**wanted, **tensors})


def save_generator(path: str | Path, model: Generator, metadata: Mapping[str, Any]) -> None:
    """Write a generator with its config under the metadata key "model"."""
    save_checkpoint(
        path,
        model.state_dict(),
        {**metadata, "kind": "generator", "model": model.config.to_dict()},
    )


def load_generator(
    path: str | Path, config: GeneratorConfig | None = None
) -> tuple[Generator, dict[str, Any]]:
    """Load a generator in evaluation mode, and its file's metadata.

    `config` is needed only for a file without Organza's metadata; where both exist they must
    agree. Raises as `load_checkpoint` and `load_into` do.
    """
    tensors, metadata = load_checkpoint(path)
    if metadata.get("format") == FORMAT:
        if metadata.get("kind") != "generator":
            raise ValueError(f"{path}: must hold a generator, found {metadata.get('kind')!r}")
        try:
            stored = GeneratorConfig.from_dict(metadata.get("model", {}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: metadata 'model': {error}") from error
        if config is not None and config != stored:
            raise ValueError(f"{path}: holds {stored}, which differs from the given {config}")
        config = stored
    elif config is None:
        raise ValueError(f"{path}: has no Organza metadata; give the generator's configuration")
    model = Generator(config)
    load_into(model, tensors, path)
    return model.eval(), metadata


def save_discriminator(path: str | Path, model: Discriminator, metadata: Mapping[str, Any]) -> None:
    """Write a discriminator with its settings under the metadata key "model"."""
    save_checkpoint(path, model.state_dict(), {**metadata, "kind": "discriminator", "model": model.settings})


def load_discriminator(path: str | Path) -> tuple[Discriminator, dict[str, Any]]:
    """Load a discriminator in evaluation mode, and its file's metadata. Raises as `load_generator`."""
    tensors, metadata = load_checkpoint(path)
    if metadata.get("format") != FORMAT or metadata.get("kind") != "discriminator":
        raise ValueError(f"{path}: must hold a discriminator, found {metadata.get('kind')!r}")
    try:
        model = Discriminator(**metadata.get("model", {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: metadata 'model': {error}") from error
    load_into(model, tensors, path)
    return model.eval(), metadata


def _check_finite(path: Path, key: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{path}: tensor {key!r} must be finite, found NaN or an infinity")


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"PK"):
        raise ValueError(f"{path}: must be safetensors, found a zip (torch.save); {_CONVERT}")
    if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:
        # A safetensors header of 0x80 + 256 * n bytes starts alike, but is followed by '{' at 8.
        with path.open("rb") as file:
            if file.read(9)[8:9] != b"{":
                raise ValueError(f"{path}: must be safetensors, found a pickle; {_CONVERT}")
