"""The integer reference: vectorised numpy, exact by construction, independent of the gateware's schedule."""

from __future__ import annotations

import numpy as np

from organza.program import Convolve, Program

BATCH = 32
# A matrix product for each shorter row is slower than copying all rows into one matrix: 20 times at 4.
_SHORT_ROW = 16


def accumulate(node: Convolve, x: np.ndarray) -> np.ndarray:
    """Exact sums, int64, shape (N, height, width, co), of integer inputs (N, height, width, ci).

    Runs on the BLAS in the narrowest float format in which every partial sum is exact: integers below 2**24 in
    float32, below 2**53 in float64. `Convolve` refuses sums beyond that.
    """
    dtype = np.float32 if node.sum_bound.max() < 1 << 24 else np.float64
    n, groups = len(x), node.groups
    ci, cog, ky, kx = node.code.shape
    cig = ci // groups
    weights = node.code.integers().astype(dtype)
    x = x.astype(dtype)
    acc = np.zeros((n, node.y.output, node.x.output, node.co), dtype)
    for ty in range(ky):
        rows = node.y.pairs(ty)
        for tx in range(kx):
            columns = node.x.pairs(tx)
            if rows is None or columns is None:
                continue
            taken = x[:, rows[0], columns[0]]
            shape = taken.shape[:3]
            if shape[2] < _SHORT_ROW:
                taken = taken.reshape(-1, ci)
            target = acc[:, rows[1], columns[1]]
            for g in range(groups):
                w = weights[g * cig : (g + 1) * cig, :, ty, tx]
                made = taken[..., g * cig : (g + 1) * cig] @ w
                target[..., g * cog : (g + 1) * cog] += made.reshape(*shape, cog)
    return acc.astype(np.int64)


def run_layers(program: Program, x: np.ndarray) -> list[np.ndarray]:
    """Integer outputs (N, co, height, width), int64, of every node for integer inputs (N, ci, height, width).

    Raises
    ------
    TypeError : inputs that are not integers.
    ValueError : a wrong shape, or values outside the input format.
    """
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.integer):
        raise TypeError(f"Program inputs must be integers (see Program.quantize), not {x.dtype}")
    if x.ndim != 4 or x.shape[1:] != program.input_shape or not len(x):
        expected = ", ".join(map(str, program.input_shape))
        raise ValueError(f"Program inputs must have shape (N, {expected}) with N ≥ 1, not {x.shape}")
    if x.min() < program.input.low or x.max() > program.input.high:
        raise ValueError(
            f"Program inputs must be between {program.input.low} and {program.input.high}, "
            f"not {x.min()}…{x.max()}"
        )
    layers: list[list[np.ndarray]] = [[] for _ in program.nodes]
    for start in range(0, len(x), BATCH):
        value = x[start : start + BATCH].transpose(0, 2, 3, 1)
        for node, made in zip(program.nodes, layers, strict=True):
            value = node.epilogue.compute(accumulate(node, value))
            made.append(value.transpose(0, 3, 1, 2))
    return [np.concatenate(made) for made in layers]
