# amaranth: UnusedElaboratable=no
"""The Huffman decoder in gateware: the software's fields, one a cycle, and an error for damage."""

import numpy as np
import pytest

from organza.codes import Huffman, Linear
from organza.codes.bitstream import BitStream
from organza_hw.codes.huffman import HuffmanExpander
from tests.organza_hw.codes.serial import check, expand, in_order, random_layer


@pytest.mark.parametrize("seed", range(24))
def test_fields(seed):
    schedule = random_layer("huffman", seed)
    check(schedule, seed)
    _, cycles, _, _ = expand(schedule)
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))


def with_code(schedule, code):
    """The same layer with other weights."""
    object.__setattr__(schedule.node, "code", code)
    return schedule


def test_longest_codes_without_a_gap():
    """Codes of 1 to 15 bits, the longest ones in a row: still one a cycle."""
    schedule = random_layer("linear", 0, input_shape=(20, 1, 1), geometry="point", max_channels=20)
    shape = schedule.node.code.shape
    rng = np.random.default_rng(0)
    levels = np.minimum(rng.geometric(0.5, shape), 14)
    levels.reshape(-1)[:16] = np.arange(16)
    code = Huffman(Linear(levels, 8))
    fields, cycles, intact, error = expand(with_code(schedule, code))
    assert (fields, intact, error) == (in_order(schedule), True, False)
    assert cycles == list(range(HuffmanExpander.latency, HuffmanExpander.latency + len(fields)))


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_an_error(seed):
    schedule = random_layer("huffman", seed % 10)
    rng = np.random.default_rng(seed)

    def damage(expander):
        words = expander.reader.rom.words
        words[rng.integers(len(words))] ^= 1 << int(rng.integers(16))

    _, _, intact, error = expand(schedule, damage=damage)
    assert (intact, error) == (False, True)


def replaced(expander, stream):
    """Other words in the memory, with a right check sum; the decoder still knows the old length."""
    words = expander.reader.rom.words
    words[:] = stream.words.tolist()[: len(words)] + [0] * (len(words) - len(stream.words))


@pytest.mark.parametrize("seed", range(12))
def test_a_wrong_count_is_an_error(seed):
    """Other fields in a stream of the same words and a right check sum: too few or too many bits."""
    layers = (random_layer("huffman", number, max_channels=8) for number in range(seed, 1000, 12))
    schedule = next(s for s in layers if len(set(s.node.code.table.lengths)) > 1)
    table, fields = schedule.node.code.table, np.array(in_order(schedule))
    short, long = table.symbols[0], table.symbols[-1]
    place = np.flatnonzero(fields == (short if seed % 2 else long))[0]
    fields[place] = long if seed % 2 else short
    stream = table.encode(fields)
    # One field too few or too many for the length of the stream.
    _, _, intact, error = expand(schedule, damage=lambda expander: replaced(expander, stream))
    assert (intact, error) == (False, True)


def test_a_code_that_does_not_exist_is_an_error():
    schedule = random_layer("linear", 3, input_shape=(4, 1, 1), geometry="point", groups=False)
    code = Huffman(Linear(np.ones(schedule.node.code.shape, int)))
    with_code(schedule, code)
    count = code.fields().size
    assert count > 1
    wrong = BitStream.pack(np.arange(count) == 1, np.ones(count, np.int64), 16)
    fields, _, intact, error = expand(schedule, damage=lambda expander: replaced(expander, wrong))
    assert (fields, intact, error) == ([1], False, True)
