"""Image data from the places users keep it, as one kind of array: uint8, (N, C, H, W).

28x28 images (MNIST, Fashion-MNIST) are padded to 32x32 with 0, the background of both sets, not
stretched, unless 28 pixels are asked for: every pixel stays as it was. Other sizes are cropped to the centred square and resized.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from organza.errors import UserError
from organza.idx import read_idx

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
SPLITS = ("train", "test")
_PREFIX = {"train": "train", "test": "t10k"}
_CIFAR_FOLDER = "cifar-10-batches-bin"
_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_MAX_BYTES = 1 << 31
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
# Larger pictures than this are no training data, and decoding one may exhaust the memory.
_MAX_PIXELS = 1 << 26


@dataclass(frozen=True)
class Dataset:
    """Images uint8 (N, C, R, R) and, where the source has them, labels uint8 (N,)."""

    images: np.ndarray
    labels: np.ndarray | None


def load_images(
    source: str | Path,
    *,
    split: str = "train",
    channels: int | None = None,
    resolution: int = 32,
    limit: int | None = None,
) -> np.ndarray:
    """Load images as uint8 (N, C, resolution, resolution); see `load_dataset`."""
    return load_dataset(
        source, split=split, channels=channels, resolution=resolution, limit=limit
    ).images


def load_dataset(
    source: str | Path,
    *,
    split: str = "train",
    channels: int | None = None,
    resolution: int = 32,
    limit: int | None = None,
) -> Dataset:
    """Load images and labels.

    source: "fashion-mnist" (the Debian package's files), "sample" (512 images shipped with
        Organza), an IDX file, a folder of MNIST-named IDX files, a CIFAR-10 binary file or
        folder, or a folder of pictures (with train/ and test/ inside, or one set for both).
    split: "train" or "test". A single file has no splits: it is loaded for either.
    channels: 1 or 3 to convert, None to keep the source's own.
    resolution: 4 to 1024.
    limit: at most this many images, the first ones.

    Raises TypeError for an argument of the wrong kind, `UserError` (a ValueError) for a value out
    of range and for a source that is absent, empty or malformed.
    """
    _check_arguments(source, split, channels, resolution, limit)
    images, labels = _read(source, split, resolution, limit)
    if limit is not None:
        images = images[:limit]
        labels = None if labels is None else labels[:limit]
    images = _fit(_convert(images, channels), resolution)
    return Dataset(np.ascontiguousarray(images), labels)


def _check_arguments(
    source: object, split: object, channels: object, resolution: object, limit: object
) -> None:
    if not isinstance(source, str | Path):
        raise TypeError(f"source must be a str or Path, got {type(source).__name__}")
    if not isinstance(split, str):
        raise TypeError(f"split must be a str, got {type(split).__name__}")
    if split not in SPLITS:
        raise UserError(f"split must be 'train' or 'test', got {split!r}")
    for name, value in (("channels", channels), ("resolution", resolution), ("limit", limit)):
        if value is None and name != "resolution":
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if channels not in (None, 1, 3):
        raise UserError(f"channels must be 1 or 3, got {channels}")
    if isinstance(resolution, int) and not 4 <= resolution <= 1024:
        raise UserError(f"resolution must be between 4 and 1024, got {resolution}")
    if isinstance(limit, int) and limit < 1:
        raise UserError(f"limit must be at least 1, got {limit}")


def _read(
    source: str | Path, split: str, resolution: int, limit: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (N, C, H, W) as the source has them, and labels."""
    if source == "sample":
        folder = resources.files("organza") / "assets"
        with (
            resources.as_file(folder / "fashion-sample-images.idx3.gz") as images,
            resources.as_file(folder / "fashion-sample-labels.idx1.gz") as labels,
        ):
            return _read_idx_pair(images, labels)
    if source == "fashion-mnist":
        if not DEBIAN_FASHION.is_dir():
            raise UserError(
                f"fashion-mnist: must be at {DEBIAN_FASHION}, found nothing there; on Debian "
                "`apt install dataset-fashion-mnist`, elsewhere give the folder of its four files"
            )
        source = DEBIAN_FASHION
    path = Path(source)
    if path.is_file():
        return _read_cifar([path]) if path.suffix == ".bin" else _read_idx_pair(path, None)
    if not path.is_dir():
        raise UserError(f"{path}: must be a file or folder (or 'fashion-mnist', 'sample')")
    idx = _find_idx(path, f"{_PREFIX[split]}-images")
    if idx is not None:
        return _read_idx_pair(idx, _find_idx(path, f"{_PREFIX[split]}-labels"))
    for folder in (path / _CIFAR_FOLDER, path):
        names = [f"data_batch_{n}.bin" for n in range(1, 6)] if split == "train" else []
        files = [folder / name for name in (names or ["test_batch.bin"])]
        found = [file for file in files if file.is_file()]
        if found:
            return _read_cifar(found)
    inner = path / split
    return _read_pictures(inner if inner.is_dir() else path, resolution, limit), None


def _find_idx(folder: Path, start: str) -> Path | None:
    kind = "idx3" if start.endswith("images") else "idx1"
    # The published names, and the dotted form that some unpackers leave.
    for middle in (f"-{kind}-ubyte", f".{kind}-ubyte"):
        for end in ("", ".gz"):
            path = folder / f"{start}{middle}{end}"
            if path.is_file():
                return path
    return None


def _read_idx_pair(
    images_path: Path, labels_path: Path | None
) -> tuple[np.ndarray, np.ndarray | None]:
    images = read_idx(images_path)
    if images.ndim not in (3, 4):
        raise UserError(
            f"{images_path}: images must have 3 dimensions (N, H, W) or 4 (N, C, H, W), "
            f"found {images.shape}"
        )
    if images.ndim == 3:
        images = images[:, None]
    if images.shape[1] not in (1, 3):
        raise UserError(f"{images_path}: images must have 1 or 3 channels, found {images.shape[1]}")
    if max(images.shape[2:]) > 1024 or min(images.shape[2:]) < 4:
        raise UserError(f"{images_path}: sides must be in [4, 1024], found {images.shape[2:]}")
    if labels_path is None:
        return images, None
    labels = read_idx(labels_path)
    if labels.shape != images.shape[:1]:
        raise UserError(
            f"{labels_path}: labels must have shape {images.shape[:1]}, found {labels.shape}"
        )
    return images, labels


def _read_cifar(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR-10's binary version: records of a label byte and 3x32x32 pixel bytes."""
    parts = []
    for file in files:
        size = file.stat().st_size
        if size == 0 or size % _CIFAR_RECORD or size > _CIFAR_MAX_BYTES:
            raise UserError(
                f"{file}: CIFAR-10 data must be whole records of {_CIFAR_RECORD} bytes "
                f"(at most {_CIFAR_MAX_BYTES}), found {size} bytes"
            )
        records = np.fromfile(file, np.uint8).reshape(-1, _CIFAR_RECORD)
        if records[:, 0].max() > 9:
            raise UserError(f"{file}: CIFAR-10 labels must be 0 to 9, found {records[:, 0].max()}")
        parts.append(records)
    records = np.concatenate(parts)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].copy()


def _read_pictures(folder: Path, resolution: int, limit: int | None) -> np.ndarray:
    """Pictures of any size below `folder`, in order of name; grey only if all of them are."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    if not files:
        raise UserError(
            f"{folder}: must hold IDX files, CIFAR-10 batches or pictures "
            f"({', '.join(sorted(_SUFFIXES))}), found none"
        )
    pictures = []
    for file in files[:limit]:
        try:
            with Image.open(file) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    raise UserError(
                        f"{file}: picture must have at most {_MAX_PIXELS} pixels, "
                        f"found {picture.width}x{picture.height}"
                    )
                if picture.mode.startswith(("I", "F")):
                    # PIL would clip these to 255, not scale them.
                    raise UserError(
                        f"{file}: picture must have 8 bits a channel, found mode {picture.mode}"
                    )
                grey = picture.mode in ("1", "L", "LA")
                pictures.append(_square(picture.convert("L" if grey else "RGB"), resolution))
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as e:
            raise UserError(f"{file}: must be a readable picture, found: {e}") from e
    if any(p.mode == "RGB" for p in pictures):
        return np.stack([np.asarray(p.convert("RGB")).transpose(2, 0, 1) for p in pictures])
    return np.stack([np.asarray(p)[None] for p in pictures])


def _square(picture: Image.Image, resolution: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # Cropped first, not by resize's box: its filter would blend in what lies outside the box.
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((resolution, resolution), Image.Resampling.BILINEAR)


def _convert(images: np.ndarray, channels: int | None) -> np.ndarray:
    if channels is None or images.shape[1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=1)
    # ITU-R BT.601 luma in integers, as PIL's "L" mode rounds it.
    red, green, blue = (images[:, c].astype(np.uint32) for c in range(3))
    luma = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return luma.astype(np.uint8)[:, None]


def _fit(images: np.ndarray, resolution: int) -> np.ndarray:
    if images.shape[2:] == (28, 28) and resolution != 28:
        images = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    if images.shape[2:] == (resolution, resolution):
        return images
    planes = images.reshape(-1, *images.shape[2:])
    out = np.empty((len(planes), resolution, resolution), np.uint8)
    for index, plane in enumerate(planes):
        out[index] = np.asarray(_square(Image.fromarray(plane), resolution))
    return out.reshape(*images.shape[:2], resolution, resolution)
