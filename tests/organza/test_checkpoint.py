"""Checkpoints: what is saved is loaded, and nothing else is."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from organza import checkpoint
from organza.checkpoint import (
    load_checkpoint,
    load_generator,
    save_checkpoint,
    save_generator,
    write_atomically,
)
from organza.models import Generator, GeneratorConfig, initialise
from organza.sampling import seeded

CONFIG = GeneratorConfig(4, 2, 32, 1)


def small() -> Generator:
    model = Generator(CONFIG)
    initialise(model, seeded(5))
    return model.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "g.safetensors"
    save_generator(path, small(), {"step": 7, "training": {"loss": "dcgan"}})
    return path


def test_round_trip(saved: Path) -> None:
    model, metadata = load_generator(saved)
    for key, value in small().state_dict().items():
        assert torch.equal(model.state_dict()[key], value)
    assert not model.training
    assert metadata["step"] == 7 and metadata["training"] == {"loss": "dcgan"}
    assert metadata["model"] == CONFIG.to_dict()
    assert load_generator(saved, CONFIG)[0].config == CONFIG
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_foreign_file_needs_a_config(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    tensors = {k: v for k, v in small().state_dict().items() if "num_batches" not in k}
    save_file(tensors, path)
    with pytest.raises(ValueError, match="has no Organza metadata; give the generator's"):
        load_generator(path)
    assert load_generator(path, CONFIG)[0].config == CONFIG


def edited(path: Path, **changes: Tensor | None) -> None:
    tensors, metadata = load_checkpoint(path)
    for key, value in changes.items():
        key = key.replace("__", ".")
        tensors.pop(key, None)
        if value is not None:
            tensors[key] = value
    del metadata["format"]
    save_checkpoint(path, tensors, metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net__0__weight": None}, r"g\.safetensors: tensor 'net\.0\.weight' is missing \(1 in"),
        ({"extra": torch.zeros(1)}, "tensor 'extra' is not part of Generator"),
        (
            {"net__0__weight": torch.zeros(4, 8, 4, 3)},
            r"'net\.0\.weight' must have shape \(4, 8, 4, 4\), found \(4, 8, 4, 3\)",
        ),
        (
            {"net__0__weight": torch.zeros(4, 8, 4, 4, dtype=torch.int32)},
            r"'net\.0\.weight' must be of kind torch.float32, found torch.int32",
        ),
    ],
)
def test_wrong_tensors_are_refused(saved: Path, changes: dict, message: str) -> None:
    edited(saved, **changes)
    with pytest.raises(ValueError, match=message):
        load_generator(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = tmp_path / "x.safetensors"
    message = r"x\.safetensors: tensor 'w' must be finite, found NaN or an infinity"
    with pytest.raises(ValueError, match=message):
        save_checkpoint(path, {"w": torch.tensor([value])}, {})
    assert not path.exists()
    save_file({"w": torch.tensor([1.0, value])}, path)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"must be safetensors, found a zip .*weights_only=True"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(ValueError, match="must be safetensors, found a pickle; convert it"):
        load_checkpoint(path)


def test_broken_files_are_refused(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    for broken in (b"", data[:4], data[:100], data[:-1], data + b"x"):
        saved.write_bytes(broken)
        with pytest.raises(ValueError, match=r"g\.safetensors: must be a whole safetensors file"):
            load_checkpoint(saved)
    with pytest.raises(FileNotFoundError, match="absent: no such checkpoint file"):
        load_checkpoint(tmp_path / "absent")
    with pytest.raises(TypeError, match="path must be a str or Path, got int"):
        load_checkpoint(3)  # type: ignore[arg-type]


def test_metadata_is_checked(saved: Path) -> None:
    tensors = small().state_dict()
    with pytest.raises(ValueError, match=r"holds GeneratorConfig.* differs from the given"):
        load_generator(saved, GeneratorConfig(5, 2, 32, 1))
    save_checkpoint(saved, tensors, {"kind": "classifier"})
    with pytest.raises(ValueError, match="must hold a generator, found 'classifier'"):
        load_generator(saved)
    save_checkpoint(saved, tensors, {"kind": "generator", "model": {"latent": 4}})
    with pytest.raises(ValueError, match="metadata 'model': generator config must have the"):
        load_generator(saved)
    save_file(tensors, saved, {"format": checkpoint.FORMAT, "kind": "{"})
    with pytest.raises(ValueError, match="metadata 'kind' must be JSON, found '{'"):
        load_generator(saved)


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def fail(_number: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(saved, b"new")
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
