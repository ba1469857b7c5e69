"""Loaders: every source, and every way a file can be broken."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from organza import datasets
from organza.datasets import load_dataset, load_images
from organza.idx import MAX_BYTES, read_idx, write_idx

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.arange(6, dtype=np.uint8)


def idx_header(*shape: int) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


@pytest.mark.parametrize("name", ["a.idx3", "a.idx3.gz"])
def test_idx_written_is_read_back(tmp_path: Path, name: str) -> None:
    write_idx(tmp_path / name, IMAGES)
    assert np.array_equal(read_idx(tmp_path / name), IMAGES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"bad\.idx: IDX magic must be 00 00 08 .*found ''"),
        (b"\x00\x00\x0d\x03" + b"\0" * 20, r"IDX magic must be .*found '00 00 0d 03'"),
        (b"PNG...", r"IDX magic must be"),
        (b"\x00\x00\x08\x00", r"IDX must have 1 to 4 dimensions, found 0"),
        (b"\x00\x00\x08\xff", r"IDX must have 1 to 4 dimensions, found 255"),
        (b"\x00\x00\x08\x03\x00\x00", r"IDX header must be 16 bytes, found the file's end"),
        (idx_header(2**32 - 1, 28, 28), rf"dimensions must make 1 to {MAX_BYTES} bytes, found"),
        (idx_header(0, 28, 28), r"dimensions must make 1 to \d+ bytes, found \(0, 28, 28\)"),
        (idx_header(2, 4, 4) + b"\1" * 31, r"IDX data must be 32 bytes .*found 31"),
        (idx_header(2, 4, 4) + b"\1" * 33, r"IDX data must end after 32 bytes, found trailing"),
        (gzip.compress(idx_header(2, 4, 4) + b"\1" * 32, mtime=0)[:-9], r"gzip data must be whole, found"),
        (b"\x1f\x8b\x08rubbish that is no gzip data", r"gzip data must be whole, found"),
    ],
)
def test_broken_idx_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.idx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_idx(path)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, tail: bytes):
    path = tmp_path_factory.mktemp("any") / "x.idx"
    path.write_bytes(b"\0\0\x08" + tail)
    try:
        array = read_idx(path)
    except ValueError as error:
        assert "x.idx" in str(error)
    else:
        assert array.dtype == np.uint8


def test_idx_of_the_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="path must be a str or Path, got int"):
        read_idx(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing: cannot be read"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(TypeError, match="array must be a numpy array of uint8"):
        write_idx(tmp_path / "a", np.zeros(3))
    with pytest.raises(ValueError, match="array must have 1 to 4 dimensions, got 5"):
        write_idx(tmp_path / "a", np.zeros((1,) * 5, np.uint8))


def mnist_folder(folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> Path:
    for prefix, part in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images[part])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels[part])
    return folder


def test_mnist_folder_is_padded_with_background(tmp_path: Path) -> None:
    mnist_folder(tmp_path)
    for split, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
        found = load_dataset(tmp_path, split=split)
        assert np.array_equal(found.images[:, 0, 2:-2, 2:-2], IMAGES[part])
        assert found.images.sum(dtype=int) == IMAGES[part].sum(dtype=int)  # all the rest is 0
        assert found.labels is not None and np.array_equal(found.labels, LABELS[part])


def test_resolution_channels_and_limit(tmp_path: Path) -> None:
    mnist_folder(tmp_path)
    images = load_images(tmp_path, channels=3, resolution=64, limit=3)
    assert images.shape == (3, 3, 64, 64) and images.dtype == np.uint8
    assert np.array_equal(images[:, 0], images[:, 2])
    small = load_images(tmp_path, limit=3)
    assert abs(float(images.mean()) - float(small.mean())) < 1


def test_single_idx_file_of_another_size(tmp_path: Path) -> None:
    write_idx(tmp_path / "x.idx4", np.full((2, 3, 48, 40), 9, np.uint8))
    found = load_dataset(str(tmp_path / "x.idx4"))
    assert found.labels is None
    assert np.array_equal(found.images, np.full((2, 3, 32, 32), 9, np.uint8))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6,), r"images must have 3 dimensions .* found \(6,\)"),
        ((2, 2, 8, 8), "images must have 1 or 3 channels, found 2"),
        ((2, 2, 8), r"sides must be in \[4, 1024\], found"),
    ],
)
def test_idx_that_holds_no_images(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    write_idx(tmp_path / "x.idx", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path / "x.idx")


def test_labels_must_match_images(tmp_path: Path) -> None:
    mnist_folder(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS[:3])
    with pytest.raises(ValueError, match=r"labels must have shape \(4,\), found \(3,\)"):
        load_dataset(tmp_path)


def test_cifar(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    records = RNG.integers(0, 256, (5, 3073), dtype=np.uint8)
    records[:, 0] = range(5)
    (folder / "data_batch_1.bin").write_bytes(records[:3].tobytes())
    (folder / "data_batch_2.bin").write_bytes(records[3:].tobytes())
    (folder / "test_batch.bin").write_bytes(records[:1].tobytes())
    for source in (tmp_path, folder):
        found = load_dataset(source)
        assert np.array_equal(found.images.reshape(5, -1), records[:, 1:])
        assert found.labels is not None and np.array_equal(found.labels, range(5))
    assert load_images(folder / "test_batch.bin").shape == (1, 3, 32, 32)
    grey = load_images(tmp_path, split="test", channels=1)
    expected = Image.fromarray(load_images(tmp_path, split="test")[0].transpose(1, 2, 0))
    assert np.array_equal(grey[0, 0], np.asarray(expected.convert("L")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"CIFAR-10 data must be whole records of 3073 bytes .* found 0 bytes"),
        (b"\0" * 3072, r"x\.bin: CIFAR-10 data must be whole records .* found 3072 bytes"),
        (b"\x0a" * 3073, r"CIFAR-10 labels must be 0 to 9, found 10"),
    ],
)
def test_broken_cifar_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path / "x.bin")


def test_pictures_are_cropped_to_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((40, 80), np.uint8)
    wide[:, 20:60] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert np.array_equal(load_images(tmp_path), np.full((1, 1, 32, 32), 200, np.uint8))
    (tmp_path / "test").mkdir()
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "test" / "b.png")
    assert load_images(tmp_path, split="test")[0, :, 5, 5].tolist() == [1, 2, 3]
    assert load_images(tmp_path, split="train").shape == (2, 3, 32, 32)


def test_broken_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="must hold IDX files, CIFAR-10 batches or pictures"):
        load_images(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png: must be a readable picture"):
        load_images(tmp_path)
    Image.new("I;16", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"must have 8 bits a channel, found mode I;16"):
        load_images(tmp_path)
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    monkeypatch.setattr(datasets, "_MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="must have at most 1000 pixels, found 32x32"):
        load_images(tmp_path)


def test_sample_is_balanced() -> None:
    found = load_dataset("sample")
    assert found.images.shape == (512, 1, 32, 32) and found.labels is not None
    assert sorted(np.bincount(found.labels).tolist()) == [51] * 8 + [52] * 2


def test_fashion_mnist_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "DEBIAN_FASHION", tmp_path / "absent")
    with pytest.raises(ValueError, match="apt install dataset-fashion-mnist"):
        load_images("fashion-mnist")
    monkeypatch.setattr(datasets, "DEBIAN_FASHION", mnist_folder(tmp_path))
    assert len(load_images("fashion-mnist")) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": 3}, TypeError, "source must be a str or Path, got int"),
        ({"split": 1}, TypeError, "split must be a str, got int"),
        ({"split": "dev"}, ValueError, "split must be 'train' or 'test', got 'dev'"),
        ({"channels": True}, TypeError, "channels must be an int, got bool"),
        ({"channels": 2}, ValueError, "channels must be 1 or 3, got 2"),
        ({"resolution": None}, TypeError, "resolution must be an int, got NoneType"),
        ({"resolution": 3}, ValueError, "resolution must be between 4 and 1024, got 3"),
        ({"limit": 1.5}, TypeError, "limit must be an int, got float"),
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
        ({"source": "no/such"}, ValueError, "no/such: must be a file or folder"),
    ],
)
def test_arguments(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_images(**{"source": "sample", **arguments})
