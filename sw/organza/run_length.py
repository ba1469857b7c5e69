"""Run-length coded joints: the tokens that pass between two engines instead of beats.

Channel c of a beat goes through lane c % n of the joint, and every lane is coded by itself: in a whole beat all n channels
are hardly ever zero at once. A lane's values of one row are cut into blocks of `BLOCK`; inside a block each value that is
not zero is a token, and so is each run of zeros. A run ends with its block, so both sides of a joint know how
many beats a block has, and what is waited for never depends on the data.

Run-length coding of zero activations: Eyeriss, Chen et al., JSSC 2017, section V; there runs are 5 bits long, and lie in
front of a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CODINGS = ("plain", "rle")
BLOCK = 4
RUN_BITS = (BLOCK - 1).bit_length()


@dataclass(frozen=True)
class Token:
    """One value that is not zero, or `value` + 1 zeros."""

    run: bool
    value: int


def block_sizes(row_beats: int) -> list[int]:
    """Beats of every block of a row of `row_beats` beats."""
    return [min(BLOCK, row_beats - start) for start in range(0, row_beats, BLOCK)]


def lane_tokens(values: np.ndarray, row_beats: int) -> list[Token]:
    """Tokens of one lane's values (B,), whole rows of `row_beats`; the reference for what is on the wires."""
    made: list[Token] = []
    for row in _rows(values, row_beats):
        for start in range(0, row_beats, BLOCK):
            zeros = 0
            for value in [*row[start : start + BLOCK].tolist(), None]:
                if value == 0:
                    zeros += 1
                    continue
                if zeros:
                    made.append(Token(True, zeros - 1))
                    zeros = 0
                if value is not None:
                    made.append(Token(False, value))
    return made


def lane_values(tokens: list[Token]) -> np.ndarray:
    """The values that `lane_tokens` made tokens of."""
    values: list[int] = []
    for token in tokens:
        values += [0] * (token.value + 1) if token.run else [token.value]
    return np.array(values, np.int64)


def coded_bits(beats: np.ndarray, row_beats: int, bits: int) -> int:
    """Bits of all tokens of the beats (B, n) with values of `bits` bits: a flag, then the value or `RUN_BITS`.

    Without coding they are `beats.size * bits`.
    """
    zero = _rows(beats, row_beats) == 0
    runs = zero.copy()
    runs[:, 1:] &= ~zero[:, :-1] | (np.arange(1, row_beats) % BLOCK == 0)[:, None]
    return int((~zero).sum()) * (1 + bits) + int(runs.sum()) * (1 + RUN_BITS)


def _rows(values: np.ndarray, row_beats: int) -> np.ndarray:
    values = np.asarray(values)
    if row_beats < 1 or len(values) % row_beats:
        raise ValueError(f"Beats must be whole rows of {row_beats}, not {len(values)}")
    return values.reshape(-1, row_beats, *values.shape[1:])
