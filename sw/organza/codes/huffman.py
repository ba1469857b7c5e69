"""Canonical, length-limited Huffman code around the fields of any direct code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from organza.checks import check_integer
from organza.codes.bitstream import BitStream
from organza.codes.serial import Wrapper

LONGEST = 15
WORD_BITS = 16  # the decoder takes up to LONGEST bits a cycle and refills a word


def code_lengths(counts: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """Lengths of the best prefix code with at most `longest` bits a symbol (package-merge), int64.

    `counts` : how often each symbol occurs, at least 1. A single symbol gets one bit.

    Raises ValueError for more symbols than codes of that length.
    """
    number = len(counts)
    if number > 1 << longest:
        raise ValueError(f"huffman must have at most {1 << longest} different fields, not {number}")
    if number == 1:
        return np.ones(1, np.int64)
    order = np.argsort(counts, kind="stable")
    leaves = np.asarray(counts, np.int64)[order]
    level, is_leaf = leaves, [np.ones(number, bool)]
    for _ in range(longest - 1):
        packages = level[: len(level) // 2 * 2].reshape(-1, 2).sum(1)
        merged = np.concatenate([leaves, packages])
        place = np.argsort(merged, kind="stable")
        level = merged[place]
        is_leaf.append(place < number)
    lengths, take = np.zeros(number, np.int64), 2 * number - 2
    for flags in reversed(is_leaf):
        chosen = int(flags[:take].sum())
        lengths[:chosen] += 1
        take = 2 * (take - chosen)
    made = np.empty(number, np.int64)
    made[order] = lengths
    return made


@dataclass(frozen=True, eq=False)
class Table:
    """A canonical code.

    symbols : by length, then by value. amounts : how many have 1…`LONGEST` bits.
    """

    symbols: np.ndarray
    amounts: np.ndarray

    @classmethod
    def of(cls, fields: np.ndarray, longest: int = LONGEST) -> Table:
        """The best code for these fields."""
        symbols, counts = np.unique(fields, return_counts=True)
        lengths = code_lengths(counts, longest)
        order = np.argsort(lengths, kind="stable")
        return cls(symbols[order], np.bincount(lengths, minlength=LONGEST + 1)[1:])

    @cached_property
    def lengths(self) -> np.ndarray:
        """Bits of every symbol."""
        return np.repeat(np.arange(1, LONGEST + 1), self.amounts)

    @cached_property
    def rows(self) -> list[tuple[int, int, int, int]]:
        """(length, first code, codes, index of the first symbol) of every length that occurs."""
        made, code, index = [], 0, 0
        for length, amount in enumerate(self.amounts.tolist(), 1):
            code *= 2
            if amount:
                made.append((length, code, amount, index))
            code, index = code + amount, index + amount
        return made

    @cached_property
    def codes(self) -> np.ndarray:
        """Code of every symbol."""
        return np.concatenate(
            [np.arange(first, first + amount) for _, first, amount, _ in self.rows]
        )

    def encode(self, fields: np.ndarray) -> BitStream:
        """The stream of `fields`, all of which are symbols."""
        order = np.argsort(self.symbols)
        place = order[np.searchsorted(self.symbols, fields, sorter=order)]
        return BitStream.pack(self.codes[place], self.lengths[place], WORD_BITS)

    def decode(self, stream: BitStream, count: int) -> np.ndarray:
        """`count` fields of a stream.

        Raises ValueError for a code that does not exist, a stream that ends early or goes on, or a
        wrong check sum.
        """
        bits = stream.unpack().tolist()
        made, at = [], 0
        for number in range(count):
            code, start = 0, at
            for length, first, amount, index in self.rows:
                while at < start + length:
                    if at == len(bits):
                        raise ValueError(f"Stream ends in field {number} of {count}")
                    code, at = 2 * code + bits[at], at + 1
                if code - first < amount:
                    made.append(index + code - first)
                    break
            else:
                raise ValueError(f"Stream has no field for a code of field {number}")
        if at != len(bits):
            raise ValueError(f"Stream has {len(bits) - at} bits behind the last of {count} fields")
        return self.symbols[made]


@dataclass(frozen=True, eq=False)
class Huffman(Wrapper):
    """Huffman-coded fields of `inner`.

    Stored: the stream with its check sum, a field for every symbol, and how many symbols each
    length has (16 bits each).

    Raises TypeError or ValueError as `Wrapper` does, and for more than 2**longest different fields.
    `longest` : most bits of a code, 1…15.
    """

    longest: int = LONGEST

    kind = "huffman"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("huffman longest", self.longest, 1, LONGEST)
        _ = self.table  # refuses too many fields now, not when it is used

    @cached_property
    def table(self) -> Table:
        """The canonical code of the fields."""
        return Table.of(self.fields(), self.longest)

    def stream(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> BitStream:
        """What is stored for Ti × To lanes, see `image_bits`."""
        return self.table.encode(self.ordered(ti, to, groups, words))

    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        return self.stream(ti, to, groups, words).stored_bits + len(self.table.symbols) * self.field_bits

    @property
    def stored_bits(self) -> int:
        return self.image_bits(1, 1, 1) + self.table_bits

    @property
    def table_bits(self) -> int:
        """Also how many codes of every length there are, 16 bits each."""
        return LONGEST * 16 + super().table_bits

    def options(self) -> dict[str, Any]:
        return {"longest": self.longest}
