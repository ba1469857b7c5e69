"""How words lie in memory; the stream itself is tested with the codes that make one."""

import numpy as np
import pytest

from organza.codes import bitstream
from organza.codes.bitstream import DEEPEST, BitStream


@pytest.mark.parametrize("payload, row_words, rows", [
    (1, 1, 3), (DEEPEST - 2, 1, DEEPEST), (DEEPEST - 1, 2, DEEPEST // 2 + 1), (24_472, 2, 12_237),
    (2 * DEEPEST - 2, 2, DEEPEST), (2 * DEEPEST - 1, 4, DEEPEST // 2 + 1),
])  # fmt: skip
def test_no_memory_is_deeper_than_a_block_ram(payload: int, row_words: int, rows: int) -> None:
    """With its two words of check sum."""
    stream = BitStream.pack(np.arange(payload), np.full(payload, 16), 16)
    assert (stream.row_words, len(stream.rows)) == (row_words, rows)
    assert stream.stored_bits == rows * row_words * 16


@pytest.mark.parametrize("word_bits", [16, 32])
@pytest.mark.parametrize("deepest", [1, 3, 7])
def test_rows_are_the_words_one_after_the_other(monkeypatch: pytest.MonkeyPatch, word_bits: int, deepest: int) -> None:
    """Little endian bytes of all rows are those of all words, and zeros."""
    monkeypatch.setattr(bitstream, "DEEPEST", deepest)
    stream = BitStream.pack(np.arange(5), np.full(5, word_bits), word_bits)
    size = stream.row_words * word_bits // 8
    octets = b"".join(row.to_bytes(size, "little") for row in stream.rows)
    words = stream.words.astype(f"<u{word_bits // 8}").tobytes()
    assert len(stream.rows) <= deepest and octets[: len(words)] == words and not any(octets[len(words) :])
    assert len(octets) * 8 == stream.stored_bits
