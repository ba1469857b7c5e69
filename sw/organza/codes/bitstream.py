"""Bit streams in words with a check sum: what serial codes store."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

CRC_BITS = 32
DEEPEST = 1 << 14  # rows of a memory: a block RAM of usual size has as many, of one bit each


@dataclass(frozen=True, eq=False)
class BitStream:
    """Bits in words of 16 or 32 bits, first bit highest, the last word padded with zeros, then
    CRC-32.

    The check sum is that of zlib over the words' bytes, little endian, and is stored the same way.

    Parameters
    ----------
    words : int64, payload and check sum. word_bits : 16 or 32. bits : of the payload, at least 1.
    """

    words: np.ndarray
    word_bits: int
    bits: int

    @property
    def payload_words(self) -> int:
        """Words before the check sum."""
        return -(-self.bits // self.word_bits)

    @property
    def row_words(self) -> int:
        """Words that lie side by side in a row of the memory, a power of two: so many that no block RAM must follow another."""
        return 1 << (-(-len(self.words) // DEEPEST) - 1).bit_length()

    @property
    def rows(self) -> list[int]:
        """What a memory holds: words in rows, the first lowest; places behind the check sum are zero."""
        padded = np.pad(self.words, (0, -len(self.words) % self.row_words)).reshape(-1, self.row_words)
        return [sum(word << self.word_bits * place for place, word in enumerate(row)) for row in padded.tolist()]

    @property
    def stored_bits(self) -> int:
        """All rows, check sum included."""
        return -(-len(self.words) // self.row_words) * self.row_words * self.word_bits

    @classmethod
    def pack(cls, values: np.ndarray, lengths: np.ndarray, word_bits: int) -> BitStream:
        """One value after the other, highest bit first; `lengths` holds the bits of each, 1…32."""
        ends = np.cumsum(lengths)
        bits = int(ends[-1])
        padded = np.zeros(-(-bits // word_bits) * word_bits, np.int64)
        for place in range(int(lengths.max())):
            long = lengths > place
            padded[ends[long] - 1 - place] = (values[long] >> place) & 1
        words = padded.reshape(-1, word_bits) @ (
            1 << np.arange(word_bits - 1, -1, -1, dtype=np.int64)
        )
        check = np.frombuffer(
            zlib.crc32(_octets(words, word_bits)).to_bytes(4, "little"), f"<u{word_bits // 8}"
        )
        return cls(np.concatenate([words, check.astype(np.int64)]), word_bits, bits)

    def unpack(self) -> np.ndarray:
        """The payload, one entry a bit.

        Raises ValueError for a stream of another length, or that does not match its check sum.
        """
        wanted = self.payload_words + CRC_BITS // self.word_bits
        if len(self.words) < wanted:
            raise ValueError(f"Stream is too short: {len(self.words)} of {wanted} words")
        if len(self.words) > wanted:
            raise ValueError(f"Stream is too long: {len(self.words)} instead of {wanted} words")
        octets = _octets(self.words, self.word_bits)
        if zlib.crc32(octets[:-4]) != int.from_bytes(octets[-4:], "little"):
            raise ValueError("Stream does not match its check sum")
        places = np.arange(self.word_bits - 1, -1, -1)
        return ((self.words[: self.payload_words, None] >> places) & 1).reshape(-1)[: self.bits]


def _octets(words: np.ndarray, word_bits: int) -> bytes:
    return words.astype(f"<u{word_bits // 8}").tobytes()
