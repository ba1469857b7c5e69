"""Run lengths around any direct code: pairs of (zero fields before, next field)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from organza.checks import check_integer
from organza.codes.bitstream import BitStream
from organza.codes.serial import Wrapper


def pair_runs(fields: np.ndarray, run_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Runs and values of `fields`: each pair is `run` zeros, then the value.

    A value is 0 only where a run is longer than 2**run_bits - 1, or at the end.
    """
    most = 1 << run_bits
    ends = np.flatnonzero(fields)
    if not len(ends) or ends[-1] != len(fields) - 1:
        ends = np.append(ends, len(fields) - 1)
    spans = np.diff(ends, prepend=-1)  # fields of a pair without limit
    fillers = (spans - 1) // most
    runs = np.full(len(spans) + fillers.sum(), most - 1)
    values = np.zeros(len(runs), np.int64)
    place = np.cumsum(fillers + 1) - 1
    runs[place] = (spans - 1) % most
    values[place] = fields[ends]
    return runs, values


def expand_runs(runs: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Inverse of `pair_runs`. Raises ValueError unless it makes `count` fields."""
    ends = np.cumsum(runs + 1)
    if not len(ends) or ends[-1] != count:
        raise ValueError(f"Runs must make {count} fields, not {ends[-1] if len(ends) else 0}")
    fields = np.zeros(count, np.int64)
    fields[ends - 1] = values
    return fields


@dataclass(frozen=True, eq=False)
class RunLength(Wrapper):
    """Run-length coded fields of `inner`, pairs of `run_bits` and a field in one bit stream.

    The number of pairs depends on the order of the lane words: `stored_bits` counts one lane,
    (output channel, tap, input channel) order; `image_bits` is what Ti × To lanes store.

    Raises TypeError or ValueError as `Wrapper` does. `run_bits` : 1…8.
    """

    run_bits: int = 4

    kind = "rle"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("rle run_bits", self.run_bits, 1, 8)

    @property
    def pair_bits(self) -> int:
        """Bits of a pair."""
        return self.run_bits + self.field_bits

    @property
    def word_bits(self) -> int:
        """Bits of a stored word: more than a pair, which is what the decoder takes at once."""
        return 16 if self.pair_bits < 16 else 32

    def stream(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> BitStream:
        """What is stored for Ti × To lanes, see `image_bits`."""
        runs, values = pair_runs(self.ordered(ti, to, groups, words), self.run_bits)
        pairs = (runs << self.field_bits) + values
        return BitStream.pack(pairs, np.full(len(pairs), self.pair_bits), self.word_bits)

    def decode(self, stream: BitStream, count: int) -> np.ndarray:
        """`count` fields of a stream.

        Raises ValueError for a stream that is no whole pairs, makes another count, or does not
        match its check sum.
        """
        bits = stream.unpack()
        if len(bits) % self.pair_bits:
            raise ValueError(f"Stream must be pairs of {self.pair_bits} bits, not {len(bits)} bits")
        pairs = bits.reshape(-1, self.pair_bits) @ (1 << np.arange(self.pair_bits - 1, -1, -1))
        return expand_runs(pairs >> self.field_bits, pairs & ((1 << self.field_bits) - 1), count)

    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        return self.stream(ti, to, groups, words).stored_bits

    @property
    def stored_bits(self) -> int:
        return self.image_bits(1, 1, 1) + self.table_bits

    def options(self) -> dict[str, Any]:
        return {"run_bits": self.run_bits}
