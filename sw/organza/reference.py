"""The integer reference: vectorised numpy, exact by construction, independent of the gateware's schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organza.exponents import History, excess_bits
from organza.formats import Managed
from organza.managed_epilogue import ManagedEpilogue
from organza.program import Convolve, Program, State

BATCH = 32
# A matrix product for each shorter row is slower than copying all rows into one matrix: 20 times at 4.
_SHORT_ROW = 16


def accumulate(node: Convolve, x: np.ndarray) -> np.ndarray:
    """Sums, int64, shape (N, height, width, co), of integer inputs (N, height, width, ci): exact, or as the code's adder has it.

    Exact ones run on the BLAS in the narrowest float format in which every partial sum is exact: integers below 2**24 in
    float32, below 2**53 in float64. `Convolve` refuses sums beyond that.
    """
    exact = node.code.adder.exact
    dtype = np.int64 if not exact else np.float32 if node.sum_bound.max() < 1 << 24 else np.float64
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
                channels = slice(g * cig, (g + 1) * cig)
                if exact:
                    # Every operand is finite; OpenBLAS may raise the processor's flags over lanes beyond a matrix's edge.
                    with np.errstate(all="ignore"):
                        made = taken[..., channels] @ weights[channels, :, ty, tx]
                else:
                    made = node.code.lane_sums(taken[..., channels].reshape(-1, cig), channels, ty, tx)
                target[..., g * cog : (g + 1) * cog] += made.reshape(*shape, cog)
    return acc.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Exponents:
    """What became of the exponents of a managed tensor, int64 arrays with an entry for every image.

    exponent : of the image. peak : its largest |mantissa|. excess : bits by which its widest value was too wide, see
    `organza.exponents.excess_bits`.
    """

    exponent: np.ndarray
    peak: np.ndarray
    excess: np.ndarray

    @property
    def overflow(self) -> np.ndarray:
        """Whether a value was clamped, booleans."""
        return self.excess > 0


@dataclass(frozen=True, eq=False)
class Trace:
    """What the reference knows about some images.

    layers : integer outputs (N, co, height, width), int64, of every node. exponents : of every node's output, None if they
    are not managed. state : after the images.
    """

    layers: list[np.ndarray]
    exponents: list[Exponents | None]
    state: State


def trace(program: Program, x: np.ndarray, state: State) -> Trace:
    """Run integer inputs (N, ci, height, width); they follow the images after which the program was in `state`.

    Raises
    ------
    TypeError : inputs that are not integers, or a state that is not one.
    ValueError : a wrong shape, values outside the input format, or a state of another program.
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
    histories = _histories(program, state)
    layers: list[list[np.ndarray]] = [[] for _ in program.nodes]
    seen: list[list[tuple[int, int, int]]] = [[] for _ in program.nodes]
    for start in range(0, len(x), BATCH):
        value = x[start : start + BATCH].transpose(0, 2, 3, 1)
        exponents = [0] * len(value)
        for k, (node, made) in enumerate(zip(program.nodes, layers, strict=True)):
            value, found = accumulate(node, value), []
            if isinstance(node.epilogue, ManagedEpilogue):
                found, histories[k] = _requantise(node, node.epilogue, value, exponents, histories[k])
            else:
                value = node.epilogue.compute(value)
            exponents = [exponent for exponent, _, _ in found] or [0] * len(value)
            seen[k] += found
            made.append(value.transpose(0, 3, 1, 2))
    return Trace(
        [np.concatenate(made) for made in layers],
        [Exponents(*np.array(found, np.int64).T) if isinstance(node.output, Managed) else None
         for node, found in zip(program.nodes, seen, strict=True)],
        tuple(histories),
    )  # fmt: skip


def _histories(program: Program, state: State) -> list[History | None]:
    """`state` as a list, checked."""
    if not isinstance(state, tuple):
        raise TypeError(f"Program state must be a tuple, not {state!r}")
    if len(state) != len(program.nodes):
        raise ValueError(f"Program state must have {len(program.nodes)} entries, one for each node, not {len(state)}")
    for node, history in zip(program.nodes, state, strict=True):
        if isinstance(node.output, Managed):
            node.output.rule.check(history)
        elif history is not None:
            raise ValueError(f"Program state of {node.name} must be None, as its output is not managed, not {history!r}")
    return list(state)


def _requantise(
    node: Convolve, epilogue: ManagedEpilogue, values: np.ndarray, exponents: list[int], history: History | None
) -> tuple[list[tuple[int, int, int]], History | None]:
    """Make outputs of the sums `values` (N, height, width, co) in their place, image by image.

    Returns exponent, peak and excess of each, nothing for an output that is not managed, and the history after them.
    """
    found: list[tuple[int, int, int]] = []
    for value, e_in in zip(values, exponents, strict=True):
        low, high = node.output_exponents(e_in)
        if not isinstance(node.output, Managed) or history is None:
            value[:] = epilogue.at(e_in, low).compute(value)
            continue
        rule = node.output.rule
        e_out = rule.next(history, low, high)
        chosen = epilogue.at(e_in, e_out)
        rounded = chosen.rounded(value)
        value[:] = chosen.clamped(rounded)
        peak, excess = int(np.abs(value).max()), excess_bits(rounded.min(), rounded.max())
        history = rule.after(history, rule.wanted(e_out, peak, excess))
        found.append((e_out, peak, excess))
    return found, history
