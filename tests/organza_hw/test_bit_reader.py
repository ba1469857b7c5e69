# amaranth: UnusedElaboratable=no
"""Any bits a cycle of a stream, and its check sum."""

import numpy as np
import pytest

from organza.codes.bitstream import BitStream
from organza_hw.bit_reader import BitReader
from organza_sim.pysim import trace_cycles

PORTS = ["bits", "ready", "available", "drained", "checked", "intact"]


def read(reader, takes):
    """Takes as many bits as `takes` draws in every cycle; the bits, and what was seen."""
    made, seen = [], []

    def drive():
        for cycle in range(4 * reader.stream.bits + 40):
            # Combinational outputs of this cycle are only seen after it, so the reader itself
            # must say one cycle later how many bits it had: predict them.
            left = reader.stream.bits - len(made)
            take = min(takes(), left) if cycle >= reader.LATENCY else 0
            yield {"take": take}
            bits, ready, available, *_ = seen[-1]
            assert ready == (cycle >= reader.LATENCY)
            if ready:
                assert min(left, reader.most) <= available <= left
                made.extend(f"{bits:0{reader.most}b}"[:take])

    trace_cycles(reader, drive(), PORTS, seen)
    return [int(bit) for bit in made], seen


@pytest.mark.parametrize("seed", range(16))
def test_bits(seed):
    rng = np.random.default_rng(seed)
    word_bits = (16, 32)[seed % 2]
    count = int(rng.integers(1, 300))
    stream = BitStream.pack(rng.integers(0, 2, count), np.ones(count, int), word_bits)
    most = int(rng.integers(1, word_bits))
    greed = seed % 3
    bits, seen = read(
        BitReader(stream, most=most), lambda: most if greed else int(rng.integers(most + 1))
    )
    assert bits == stream.unpack().tolist()
    assert seen[-1][2:] == (0, 1, 1, 1)
    # Ready for a decoder that asks one cycle after it took the last bits.
    drained = next(cycle for cycle, row in enumerate(seen) if row[3])
    checked = next(cycle for cycle, row in enumerate(seen) if row[4])
    assert checked <= drained + 1


def test_damage():
    stream = BitStream.pack(np.arange(20), np.full(20, 5), 16)
    reader = BitReader(stream, most=15)
    reader.rom.words[3] ^= 4
    _, seen = read(reader, lambda: 15)
    assert seen[-1][2:] == (0, 1, 1, 0)


@pytest.mark.parametrize("most", [0, 16])
def test_wrong_most(most):
    with pytest.raises(
        ValueError, match=f"^BitReader must take between 1 and 15 bits, not {most}$"
    ):
        BitReader(BitStream.pack(np.ones(1, int), np.ones(1, int), 16), most=most)
