"""A small classifier whose features stand in for Inception's when images are scored.

Inception was trained on photographs of 299 pixels; on 32-pixel garments its features say little,
and its weights are a download. This network is trained on the very classes it scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from organza.checkpoint import FORMAT, load_checkpoint, load_into, save_checkpoint
from organza.errors import UserError
from organza.models import check_int
from organza.sampling import seeded

ASSET = "classifier-fashion.safetensors"
_INIT, _SHUFFLE, _FLIP = 6, 7, 8


@dataclass(frozen=True)
class ClassifierConfig:
    """Shape of a classifier: square images of `resolution` (32 or 64) with `channels` (1 or 3).

    features: length of the penultimate layer, 8 to 1024. classes: 2 to 256.
    name: what reports call the network, as in `FID-fashion-cnn`.
    """

    name: str = "fashion-cnn"
    resolution: int = 32
    channels: int = 1
    features: int = 64
    classes: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, got {type(self.name).__name__}")
        if self.resolution not in (32, 64):
            raise ValueError(f"resolution must be 32 or 64, got {self.resolution}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        check_int("features", self.features, 8, 1024)
        check_int("classes", self.classes, 2, 256)


class Classifier(nn.Module):
    """Three convolutions with pooling, a ReLU layer of `features`, a linear layer of `classes`."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        previous, side = config.channels, config.resolution
        for width in (16, 32, 64):
            layers += [nn.Conv2d(previous, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            previous, side = width, side // 2
        self.body = nn.Sequential(*layers)
        self.embed = nn.Linear(previous * side * side, config.features)
        self.head = nn.Linear(config.features, config.classes)

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, R, R), float in [0, 1], to features (N, features), not negative."""
        config = self.config
        shape = (config.channels, config.resolution, config.resolution)
        if images.shape[1:] != shape:
            raise ValueError(
                f"images for {config.name} must have shape (N, {shape}), got {tuple(images.shape)}"
            )
        return F.relu(self.embed(self.body(images * 2 - 1).flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, R, R), float in [0, 1], to logits (N, classes)."""
        return self.head(self.features(images))


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    config: ClassifierConfig | None = None,
    epochs: int = 6,
    batch: int = 128,
    seed: int = 0,
    lr: float = 2e-3,
    progress: Callable[[int, int, float], None] | None = None,
) -> Classifier:
    """Train on images uint8 (N, C, R, R) and labels uint8 (N,); the same seed gives the same net.

    `progress` is called after each epoch with (epoch, epochs, mean loss). Returns the classifier
    in evaluation mode. Raises TypeError for arrays of another kind, `UserError` for shapes and
    values that do not fit, and for fewer images than a batch.
    """
    config = config or ClassifierConfig()
    _check_labelled(images, labels, config)
    try:
        check_int("epochs", epochs, 1, 1000)
        check_int("batch", batch, 2, 4096)
        check_int("seed", seed, 0, (1 << 31) - 1)
    except ValueError as error:
        raise UserError(str(error)) from error
    if len(images) < batch:
        raise UserError(f"images must be at least one batch ({batch}), got {len(images)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seeded(seed, _INIT).initial_seed()))
        model = Classifier(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-5)
    per_epoch = len(images) // batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, per_epoch * epochs)
    targets = torch.from_numpy(labels.astype(np.int64))
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=seeded(seed, _SHUFFLE, epoch))
        mirrored = torch.rand(len(images), generator=seeded(seed, _FLIP, epoch)) < 0.5
        total = 0.0
        for start in range(0, per_epoch * batch, batch):
            chosen = order[start : start + batch]
            x = torch.from_numpy(images[chosen.numpy()]).float() / 255
            x = torch.where(mirrored[chosen][:, None, None, None], x.flip(3), x)
            loss = F.cross_entropy(model(x), targets[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        if progress is not None:
            progress(epoch + 1, epochs, total / per_epoch)
    return model.eval()


@torch.inference_mode()
def accuracy(model: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images uint8 (N, C, R, R) classified as `labels` (N,) says, in [0, 1]."""
    _check_labelled(images, labels, model.config)
    right = 0
    for start in range(0, len(images), 500):
        logits = model(torch.from_numpy(images[start : start + 500]).float() / 255)
        right += int((logits.argmax(1).numpy() == labels[start : start + 500]).sum())
    return right / len(images)


def save_classifier(path: str | Path, model: Classifier, metadata: dict[str, Any]) -> None:
    """Write a classifier with its config under the metadata key "model"."""
    save_checkpoint(
        path,
        model.state_dict(),
        {**metadata, "kind": "classifier", "model": asdict(model.config)},
    )


def load_classifier(path: str | Path | None = None) -> Classifier:
    """Load a classifier in evaluation mode; without `path` the one shipped for Fashion-MNIST.

    Raises ValueError for a file that holds anything else, as `checkpoint.load_checkpoint`.
    """
    if path is None:
        with resources.as_file(resources.files("organza") / "assets" / ASSET) as asset:
            return load_classifier(asset)
    tensors, metadata = load_checkpoint(path)
    if metadata.get("format") != FORMAT or metadata.get("kind") != "classifier":
        raise ValueError(f"{path}: must hold a classifier, found {metadata.get('kind')!r}")
    try:
        config = ClassifierConfig(**metadata.get("model", {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: metadata 'model': {error}") from error
    model = Classifier(config)
    load_into(model, tensors, path)
    return model.eval()


def _check_labelled(images: object, labels: object, config: ClassifierConfig) -> None:
    for name, array in (("images", images), ("labels", labels)):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
            raise TypeError(f"{name} must be a numpy array of uint8")
    assert isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)
    shape = (config.channels, config.resolution, config.resolution)
    if images.shape[1:] != shape:
        raise UserError(f"images must have shape (N, {shape}), got {images.shape}")
    if labels.shape != images.shape[:1]:
        raise UserError(f"labels must have shape {images.shape[:1]}, got {labels.shape}")
    if not len(labels) or labels.max() >= config.classes:
        raise UserError(f"labels must be present and below {config.classes}")
