# amaranth: UnusedElaboratable=no
"""Bytes with strobes come out, the lowest first, whatever stalls."""

import numpy as np
import pytest

from organza_hw.axi.load_bytes import LoadBytes
from tests.organza_hw.link.test_beat_bytes import stream
from tests.organza_hw.patterns import CROSSED, PATTERNS


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_words_with_any_strobes(idle, pressure):
    rng, words, wanted = np.random.default_rng(1), [], []
    for number in range(60):
        octets, strobes, first = rng.bytes(4), 15 if number % 2 else number // 2 % 16, number % 7 == 0
        words.append(int.from_bytes(octets, "little") | strobes << 32 | first << 36)
        kept = [byte for k, byte in enumerate(octets) if strobes >> k & 1]
        wanted += [byte | (first and not k) << 8 for k, byte in enumerate(kept)]
    stalls = [np.array(PATTERNS[name], bool) for name in (idle, pressure)]
    assert [word for word, in stream(LoadBytes(), words, len(wanted), *stalls)] == wanted


def test_a_word_in_five_cycles():
    free = np.zeros(1, bool)
    words = [0xF_0403_0201] * 8
    assert len(stream(LoadBytes(), words, 32, free, free, watchdog=5 * 8)) == 32
