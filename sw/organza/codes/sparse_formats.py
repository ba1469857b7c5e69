"""Storage of sparse weights: bitmap and relative index as bit arrays, CSR and CSC as everyone else writes them.

The bit formats take `fields` and `mask` of any shape and scan them in C order. Bits are uint8 arrays of 0 and 1, lowest
bit of a number first.
"""

from __future__ import annotations

import numpy as np

MIN_GAP_BITS, MAX_GAP_BITS = 2, 8


def _to_bits(numbers: np.ndarray, bits: int) -> np.ndarray:
    return ((numbers.reshape(-1, 1) >> np.arange(bits)) & 1).astype(np.uint8)


def _from_bits(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.int64) @ (1 << np.arange(bits.shape[1], dtype=np.int64))


def encode_bitmap(fields: np.ndarray, mask: np.ndarray, field_bits: int) -> np.ndarray:
    """One bit a weight, 1 where it is kept; then the fields of the kept ones."""
    return np.concatenate([mask.reshape(-1).astype(np.uint8), _to_bits(fields[mask], field_bits).reshape(-1)])


def decode_bitmap(bits: np.ndarray, shape: tuple[int, ...], field_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields (0 where nothing is kept) and mask of `shape`.

    Raises ValueError when there are not exactly the bits that the bitmap asks for.
    """
    size = int(np.prod(shape))
    wanted = size + field_bits * int(bits[:size].sum())
    if len(bits) != wanted or len(bits) < size:
        raise ValueError(f"Bitmap of {size} weights must have {max(wanted, size)} bits, not {len(bits)}")
    mask = bits[:size].astype(bool).reshape(shape)
    fields = np.zeros(shape, np.int64)
    fields[mask] = _from_bits(bits[size:].reshape(-1, field_bits))
    return fields, mask


def relative_entries(mask: np.ndarray, gap_bits: int) -> int:
    """Entries, fillers included, of the relative index."""
    gaps = _gaps(mask)
    return len(gaps) + int((gaps // ((1 << gap_bits) - 1)).sum())


def _gaps(mask: np.ndarray) -> np.ndarray:
    """Pruned weights before each kept one."""
    return np.diff(np.flatnonzero(mask), prepend=-1) - 1


def encode_relative(fields: np.ndarray, mask: np.ndarray, field_bits: int, gap_bits: int) -> np.ndarray:
    """Entries of a gap, the number of pruned weights before a kept one, and its field.

    The largest gap marks a filler: it skips that many weights and keeps none, its field is 0. So no field has to mean
    zero. What follows the last kept weight is not stored.
    """
    filler = (1 << gap_bits) - 1
    gaps = _gaps(mask)
    fillers = gaps // filler
    real = np.cumsum(fillers + 1) - 1  # entry of every kept weight
    entries = int((fillers + 1).sum())
    all_gaps, values = np.full(entries, filler, np.int64), np.zeros(entries, np.int64)
    all_gaps[real], values[real] = gaps % filler, fields[mask]
    return np.concatenate([_to_bits(all_gaps, gap_bits), _to_bits(values, field_bits)], axis=1).reshape(-1)


def decode_relative(
    bits: np.ndarray, shape: tuple[int, ...], field_bits: int, gap_bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fields (0 where nothing is kept) and mask of `shape`.

    Raises ValueError for a part of an entry, or entries that run past the last weight.
    """
    size, entry = int(np.prod(shape)), gap_bits + field_bits
    if len(bits) % entry:
        raise ValueError(f"Relative index must have whole entries of {entry} bits, not {len(bits)} bits")
    rows = bits.reshape(-1, entry)
    gaps, values = _from_bits(rows[:, :gap_bits]), _from_bits(rows[:, gap_bits:])
    real = gaps != (1 << gap_bits) - 1
    behind = np.cumsum(gaps + real)  # weights passed after every entry
    if len(behind) and behind[-1] > size:
        raise ValueError(f"Relative index must end within {size} weights, not at {behind[-1]}")
    fields, mask = np.zeros(size, np.int64), np.zeros(size, bool)
    mask[behind[real] - 1] = True
    fields[behind[real] - 1] = values[real]
    return fields.reshape(shape), mask.reshape(shape)


def to_csr(matrix: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(data, indices, indptr) of the masked entries of a matrix, rows compressed; CSC is that of its transpose."""
    rows, columns = np.nonzero(mask)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return matrix[rows, columns], columns, indptr


def from_csr(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix of `shape` and mask of its stored entries.

    Raises ValueError unless the three arrays fit each other and the shape, with every entry stored once.
    """
    data, indices, indptr = (np.asarray(array) for array in (data, indices, indptr))
    if indptr.shape != (shape[0] + 1,) or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise ValueError(f"Compressed pointers must be {shape[0] + 1} rising numbers from 0")
    if len(data) != indptr[-1] or len(indices) != indptr[-1]:
        raise ValueError(
            f"Compressed data and indices must have {indptr[-1]} entries, not {len(data)} and {len(indices)}"
        )
    if len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]:
        raise ValueError(f"Compressed indices must be between 0 and {shape[1] - 1}")
    rows = np.repeat(np.arange(shape[0]), np.diff(indptr))
    if len(np.unique(rows * shape[1] + indices)) != len(indices):
        raise ValueError("Compressed entries must be stored once")
    matrix, mask = np.zeros(shape, data.dtype), np.zeros(shape, bool)
    matrix[rows, indices], mask[rows, indices] = data, True
    return matrix, mask
