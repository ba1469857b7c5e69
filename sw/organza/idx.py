"""The IDX format of MNIST and Fashion-MNIST, read as hostile input.

Layout (http://yann.lecun.com/exdb/mnist): two zero bytes, a type byte (0x08: unsigned byte, the
only one here), the number of dimensions, each dimension as a big-endian 32-bit integer, the data.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from organza.errors import UserError

_UBYTE = 0x08
_MAX_DIMENSIONS = 4
# Twice the pixels of a million 32x32 images: a header that claims more is broken or hostile, and
# is refused before anything is allocated for it.
MAX_BYTES = 1 << 31


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzip-compressed or not, as a uint8 array.

    Raises TypeError for a path of the wrong kind and `UserError` (a ValueError) naming the file
    for: no such file, a wrong magic, no dimension or one of size 0, more data than 2 GiB claimed,
    a file cut short, bytes after the data, broken gzip data.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"path must be a str or Path, got {type(path).__name__}")
    path = Path(path)
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            return _parse(path, file.read)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path}: gzip data must be whole, found: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write a uint8 array as IDX, gzip-compressed if the name ends in .gz (same bytes each time).

    Raises TypeError unless `array` is uint8, ValueError unless it has 1 to 4 dimensions.
    """
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        raise TypeError("array must be a numpy array of uint8")
    if not 1 <= array.ndim <= _MAX_DIMENSIONS:
        raise ValueError(f"array must have 1 to {_MAX_DIMENSIONS} dimensions, got {array.ndim}")
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, _UBYTE, array.ndim, *array.shape)
    data += np.ascontiguousarray(array).tobytes()
    path = Path(path)
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def _parse(path: Path, read: Callable[[int], bytes]) -> np.ndarray:
    magic = read(4)
    if len(magic) < 4 or magic[:3] != bytes((0, 0, _UBYTE)):
        raise UserError(
            f"{path}: IDX magic must be 00 00 08 and a dimension count, found {magic.hex(' ')!r}"
        )
    count = magic[3]
    if not 1 <= count <= _MAX_DIMENSIONS:
        raise UserError(f"{path}: IDX must have 1 to {_MAX_DIMENSIONS} dimensions, found {count}")
    header = read(4 * count)
    if len(header) < 4 * count:
        raise UserError(f"{path}: IDX header must be {4 + 4 * count} bytes, found the file's end")
    shape = struct.unpack(f">{count}I", header)
    size = 1
    for dimension in shape:
        size *= dimension
    if not 0 < size <= MAX_BYTES:
        raise UserError(f"{path}: IDX dimensions must make 1 to {MAX_BYTES} bytes, found {shape}")
    data = read(size)
    if len(data) < size:
        raise UserError(
            f"{path}: IDX data must be {size} bytes for dimensions {shape}, found {len(data)}"
        )
    if read(1):
        raise UserError(f"{path}: IDX data must end after {size} bytes, found trailing bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)
