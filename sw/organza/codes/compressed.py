"""Sparse weights from and to CSR and CSC, the way other libraries write sparse matrices.

The matrix of a layer is (co, ci // groups · ky · kx). CSC is CSR of its transpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from organza.codes.code import by_channel, from_channels
from organza.codes.linear import Linear
from organza.codes.sparse import Sparse

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
Weights = tuple[int, int, int, int]


def to_csr(code: Sparse, groups: int) -> Arrays:
    """(data, indices, indptr) of the integers of `code`."""
    return _compress(by_channel(code.integers(), groups), by_channel(code.mask, groups))


def to_csc(code: Sparse, groups: int) -> Arrays:
    """`to_csr` with columns compressed."""
    return _compress(by_channel(code.integers(), groups).T, by_channel(code.mask, groups).T)


def from_csr(arrays: Arrays, shape: Weights, groups: int, bits: int = 8, **options: Any) -> Sparse:
    """Sparse linear weights (ci, co // groups, ky, kx) from what `to_csr` gives.

    `options` are those of `Sparse`. Raises ValueError for arrays that do not fit each other or the
    shape.
    """
    ci, cog, ky, kx = shape
    matrix, mask = _expand(*arrays, (cog * groups, ci // groups * ky * kx))
    weights, kept = (from_channels(part, shape, groups) for part in (matrix, mask))
    return Sparse(Linear(weights, bits), kept, **options)


def from_csc(arrays: Arrays, shape: Weights, groups: int, bits: int = 8, **options: Any) -> Sparse:
    """`from_csr` for what `to_csc` gives."""
    ci, cog, ky, kx = shape
    matrix, mask = _expand(*arrays, (ci // groups * ky * kx, cog * groups))
    weights, kept = (from_channels(part.T, shape, groups) for part in (matrix, mask))
    return Sparse(Linear(weights, bits), kept, **options)


def _compress(matrix: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(data, indices, indptr) of the masked entries of a matrix, rows compressed."""
    rows, columns = np.nonzero(mask)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return matrix[rows, columns], columns, indptr


def _expand(
    data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix of `shape` and mask of its stored entries.

    Raises ValueError unless the three arrays fit each other and the shape, with every entry stored
    once.
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
