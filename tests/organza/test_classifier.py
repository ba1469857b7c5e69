"""The classifier learns, is repeatable, and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from organza.checkpoint import save_checkpoint
from organza.classifier import (
    ASSET,
    Classifier,
    ClassifierConfig,
    accuracy,
    load_classifier,
    save_classifier,
    train_classifier,
)
from organza.datasets import load_dataset
from organza.errors import UserError

RNG = np.random.default_rng(1)
LABELS = np.arange(64, dtype=np.uint8) % 2
IMAGES = (RNG.integers(0, 100, (64, 1, 32, 32)) + 150 * LABELS[:, None, None, None]).astype(
    np.uint8
)
CONFIG = ClassifierConfig(name="two", features=8, classes=2)


def test_it_learns_bright_from_dark_the_same_way_twice() -> None:
    losses: list[float] = []
    models = [
        train_classifier(
            IMAGES,
            LABELS,
            config=CONFIG,
            epochs=3,
            batch=8,
            seed=5,
            progress=lambda epoch, epochs, loss: losses.append(loss),
        )
        for _ in range(2)
    ]
    assert accuracy(models[0], IMAGES, LABELS) == 1.0
    assert losses[2] < losses[0] and losses[:3] == losses[3:]
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train_classifier(IMAGES[:8], LABELS[:8], config=CONFIG, epochs=1, batch=8)
    assert torch.equal(torch.rand(1), expected)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    model = Classifier(CONFIG).eval()
    save_classifier(path, model, {"accuracy": 0.5})
    loaded = load_classifier(path)
    x = torch.rand(2, 1, 32, 32)
    assert loaded.config == CONFIG and torch.equal(loaded(x), model(x))
    for metadata, message in (
        ({"kind": "generator"}, "must hold a classifier, found 'generator'"),
        ({"kind": "classifier", "model": {"features": 1}}, r"features must be in \[8, 1024\]"),
        ({"kind": "classifier", "model": {"x": 1}}, "metadata 'model': .*unexpected keyword"),
    ):
        save_checkpoint(path, model.state_dict(), metadata)
        with pytest.raises(ValueError, match=message):
            load_classifier(path)


def test_the_shipped_classifier_knows_the_sample() -> None:
    sample = load_dataset("sample")
    assert sample.labels is not None
    model = load_classifier()
    assert model.config.name == "fashion-cnn" and ASSET.endswith(".safetensors")
    assert accuracy(model, sample.images, sample.labels) > 0.9


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": IMAGES.astype(float)}, TypeError, "images must be a numpy array of uint8"),
        ({"labels": list(LABELS)}, TypeError, "labels must be a numpy array of uint8"),
        ({"images": IMAGES[:, :, 1:]}, UserError, r"images must have shape .* got \(64, 1, 31"),
        ({"labels": LABELS[1:]}, UserError, r"labels must have shape \(64,\), got \(63,\)"),
        ({"labels": LABELS + np.uint8(1)}, UserError, "labels must be present and below 2"),
        ({"epochs": 0}, UserError, r"epochs must be in \[1, 1000\], got 0"),
        ({"batch": 65}, UserError, r"images must be at least one batch \(65\), got 64"),
        ({"seed": -1}, UserError, "seed must be in .*, got -1"),
    ],
)
def test_arguments(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train_classifier(**{"images": IMAGES, "labels": LABELS, "config": CONFIG, **changes})


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"name": 3}, TypeError, "name must be a str, got int"),
        ({"resolution": 28}, ValueError, "resolution must be 32 or 64, got 28"),
        ({"channels": 2}, ValueError, "channels must be 1 or 3, got 2"),
        ({"classes": 1}, ValueError, r"classes must be in \[2, 256\], got 1"),
    ],
)
def test_config_is_checked(values: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ClassifierConfig(**values)
