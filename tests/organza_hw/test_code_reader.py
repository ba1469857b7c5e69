# amaranth: UnusedElaboratable=no
"""The codes of a stream, one a cycle, whatever is between them, and the check sum."""

import numpy as np
import pytest

from organza.codes import bitstream
from organza.codes.bitstream import BitStream
from organza.codes.huffman import LONGEST, Table
from organza_hw.code_reader import CodeReader
from organza_sim.pysim import trace_cycles
from tests.repeated import some_now

PORTS = ["there", "bits", "length", "good", "end", "checked", "intact"]


def read(reader, eager, cycles):
    """Takes what is there in as many cycles as `eager` draws; (cycle, bits, length) of the codes, and what was seen."""
    made, seen = [], []

    def drive():
        take = 0
        for cycle in range(cycles):
            # Outputs of this cycle are seen behind it: what is taken is what was there, and has not moved since.
            take = int(bool(seen) and not take and bool(seen[-1][0]) and bool(seen[-1][3]) and eager())
            yield {"take": take}
            if take:
                there, bits, length, good, *_ = seen[-1]
                assert there and good
                made.append((cycle, bits, length))

    trace_cycles(reader, drive(), PORTS, seen)
    return made, seen


class Always(CodeReader):
    """Takes every code at once: the throughput."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.take.eq(self.there & self.good)
        return m


def huffman(rng, count):
    """Fields with a Huffman code, and their stream."""
    fields = rng.geometric(rng.choice([0.02, 0.3, 0.6]), count) % 200
    table = Table.of(fields)
    return table, fields, table.encode(fields)


def reader_of(kind, table, stream):
    return kind(stream, most=table.rows[-1][0], ends=[(bits, first + amount) for bits, first, amount, _ in table.rows])


def codes_of(table, fields):
    order = {int(symbol): k for k, symbol in enumerate(table.symbols)}
    return [(int(table.codes[order[int(f)]]), int(table.lengths[order[int(f)]])) for f in fields]


@pytest.mark.parametrize("deepest", [bitstream.DEEPEST, 25, 4])
@pytest.mark.parametrize("seed", some_now(range(8), 3))
def test_codes_of_all_lengths(monkeypatch, seed, deepest):
    """With one word in a row of the memory and with several."""
    monkeypatch.setattr(bitstream, "DEEPEST", deepest)
    rng = np.random.default_rng(seed)
    table, fields, stream = huffman(rng, int(rng.integers(1, 300)))
    reader = reader_of(CodeReader, table, stream)
    assert len(reader.rom.words) <= deepest and len(reader.rom.words) * reader.rom.width == stream.stored_bits
    share = (0.2, 1.0)[seed % 2]
    made, seen = read(reader, lambda: rng.random() < share, 60 + int(2.5 * len(fields) / share))
    assert [(bits >> reader.most - length, length) for _, bits, length in made] == codes_of(table, fields)
    assert seen[-1][3:] == (0, 1, 1, 1)


@pytest.mark.parametrize("seed", range(4))
def test_one_a_cycle(seed):
    """The longest codes too, one after the other."""
    table = Table.of(np.repeat(np.arange(16), 2 ** np.arange(16)[::-1]))
    assert table.rows[-1][0] == LONGEST
    fields = np.concatenate([np.random.default_rng(seed).integers(0, 16, 60), [15] * (10 + seed), [0] * 5])
    reader = reader_of(Always, table, table.encode(fields))
    seen = trace_cycles(reader, [{}] * (reader.LATENCY + len(fields) + 4), PORTS)
    taken = [cycle for cycle, row in enumerate(seen) if row[0] and row[3]]
    assert taken == list(range(reader.LATENCY, reader.LATENCY + len(fields)))
    # Checked when the decoder has the last code, and at the end from then on.
    assert all(row[4:] == (1, 1, 1) for row in seen[taken[-1] + 1 :])


@pytest.mark.parametrize("word_bits, most", [(16, 1), (16, 5), (16, 15), (32, 16), (32, 24), (32, 31)])
def test_codes_of_one_length(word_bits, most):
    rng = np.random.default_rng(most)
    for count in (1, 7, 64):
        values = rng.integers(0, 1 << most, count)
        stream = BitStream.pack(values, np.full(count, most), word_bits)
        reader = Always(stream, most=most)
        seen = trace_cycles(reader, [{}] * (reader.LATENCY + count + 4), PORTS)
        taken = seen[reader.LATENCY : reader.LATENCY + count]
        assert [row[:4] for row in taken] == [(1, value, most, 1) for value in values]
        assert all(row[3:] == (0, 1, 1, 1) for row in seen[reader.LATENCY + count :])


def test_a_code_across_the_end_is_not_good():
    """Nine bits as codes of four: the third would take three that do not belong to the stream."""
    stream = BitStream.pack(np.array([5, 9, 1]), np.array([4, 4, 1]), 16)
    seen = trace_cycles(Always(stream, most=4), [{}] * 30, PORTS)
    assert [row[1] for row in seen if row[0] and row[3]] == [5, 9]
    assert seen[-1][3:5] == (0, 0)


def test_damage():
    stream = BitStream.pack(np.arange(20), np.full(20, 5), 16)
    reader = Always(stream, most=5)
    reader.rom.words[3] ^= 4
    seen = trace_cycles(reader, [{}] * 60, PORTS)
    assert seen[-1][3:] == (0, 1, 1, 0)


@pytest.mark.parametrize("most", [0, 16])
def test_wrong_most(most):
    with pytest.raises(ValueError, match=f"^CodeReader must take between 1 and 15 bits, not {most}$"):
        CodeReader(BitStream.pack(np.ones(1, int), np.ones(1, int), 16), most=most)
