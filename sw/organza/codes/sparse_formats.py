"""Storage of sparse weights as bit arrays: bitmap and relative index.

Both take `fields` and `mask` of any shape and scan them in C order. Bits are uint8 arrays of 0 and
1, lowest bit of a number first.
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
    return np.concatenate(
        [mask.reshape(-1).astype(np.uint8), _to_bits(fields[mask], field_bits).reshape(-1)]
    )


def decode_bitmap(
    bits: np.ndarray, shape: tuple[int, ...], field_bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fields (0 where nothing is kept) and mask of `shape`.

    Raises ValueError when there are not exactly the bits that the bitmap asks for.
    """
    size = int(np.prod(shape))
    wanted = size + field_bits * int(bits[:size].sum())
    if len(bits) != wanted or len(bits) < size:
        raise ValueError(
            f"Bitmap of {size} weights must have {max(wanted, size)} bits, not {len(bits)}"
        )
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


def encode_relative(
    fields: np.ndarray, mask: np.ndarray, field_bits: int, gap_bits: int
) -> np.ndarray:
    """Entries of a gap, the number of pruned weights before a kept one, and its field.

    The largest gap marks a filler: it skips that many weights and keeps none, its field is 0. So no
    field has to mean zero. What follows the last kept weight is not stored.
    """
    filler = (1 << gap_bits) - 1
    gaps = _gaps(mask)
    fillers = gaps // filler
    real = np.cumsum(fillers + 1) - 1  # entry of every kept weight
    entries = int((fillers + 1).sum())
    all_gaps, values = np.full(entries, filler, np.int64), np.zeros(entries, np.int64)
    all_gaps[real], values[real] = gaps % filler, fields[mask]
    return np.concatenate(
        [_to_bits(all_gaps, gap_bits), _to_bits(values, field_bits)], axis=1
    ).reshape(-1)


def decode_relative(
    bits: np.ndarray, shape: tuple[int, ...], field_bits: int, gap_bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fields (0 where nothing is kept) and mask of `shape`.

    Raises ValueError for a part of an entry, or entries that run past the last weight.
    """
    size, entry = int(np.prod(shape)), gap_bits + field_bits
    if len(bits) % entry:
        raise ValueError(
            f"Relative index must have whole entries of {entry} bits, not {len(bits)} bits"
        )
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
