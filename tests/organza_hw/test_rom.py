# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest

from organza_hw.rom import MODULE, VERILOG, Rom
from organza_hw.verilog import to_verilog
from organza_sim.pysim import trace_cycles


@pytest.mark.parametrize("latency", [1, 2])
@pytest.mark.parametrize("width, depth", [(1, 1), (1, 2), (7, 5), (64, 16), (130, 33)])
def test_every_word_after_its_latency(width, depth, latency):
    rng = np.random.default_rng(width)
    words = [int.from_bytes(rng.bytes(20), "little") % (1 << width) for _ in range(depth)]
    addresses = [*range(depth), *rng.integers(0, depth, 50).tolist()]
    seen = trace_cycles(
        Rom(width=width, words=words, latency=latency), [{"addr": a} for a in addresses] + [{}] * latency, ["data"]
    )
    assert [data for (data,) in seen[latency:]] == [words[a] for a in addresses]


def test_words_in_a_file():
    rom = Rom(width=9, words=[0, 1, 0x1FF, 0x80], file="words.hex")
    assert rom.hex == "000\n001\n1ff\n080\n"
    text = to_verilog(rom, "memory")
    assert MODULE in text and 'FILE("words.hex")' in text
    assert "1ff" not in text
    assert f"module {MODULE}" in VERILOG


def test_wrong_arguments():
    for width, words in ((0, [0]), (8, [])):
        message = f"Rom must have a width and words, not {width} and {len(words)}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Rom(width=width, words=words)
    for word in (-1, 256):
        with pytest.raises(ValueError, match=r"^Rom words must fit 8 bits$"):
            Rom(width=8, words=[0, word])
