# amaranth: UnusedElaboratable=no
"""The run-length decoder in gateware: the software's fields, one a cycle, and an error for damage."""

import numpy as np
import pytest

from organza.codes.bitstream import BitStream
from organza.codes.rle import pair_runs
from tests.organza_hw.codes.serial import check, expand, in_order, random_layer


@pytest.mark.parametrize("seed", range(24))
def test_fields(seed):
    schedule = random_layer("rle", seed)
    check(schedule, seed)
    _, cycles, _, _ = expand(schedule)
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_an_error(seed):
    schedule = random_layer("rle", seed % 10)
    rng = np.random.default_rng(seed)

    def damage(expander):
        rom = expander.reader.rom
        rom.words[rng.integers(len(rom.words))] ^= 1 << int(rng.integers(rom.width))

    _, _, intact, error = expand(schedule, damage=damage)
    assert (intact, error) == (False, True)


def changeable(seed, more):
    """A random layer, its runs and values, and the place of a run that can change by `more`."""
    for number in range(seed, 1000, 10):
        schedule = random_layer("rle", number)
        code = schedule.node.code
        runs, values = pair_runs(np.array(in_order(schedule)), code.run_bits)
        able = np.flatnonzero((runs + more >= 0) & (runs + more < 1 << code.run_bits))
        if len(able):
            return schedule, runs, values, able[-1]
    raise AssertionError("no layer has a run that can change")


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("seed", range(10))
def test_another_number_of_fields_is_an_error(seed, more):
    """A run that is one shorter or longer, with a right check sum."""
    schedule, runs, values, place = changeable(seed, more)
    code = schedule.node.code
    runs[place] += more
    pairs = (runs << code.field_bits) + values
    stream = BitStream.pack(pairs, np.full(len(pairs), code.pair_bits), code.word_bits)

    def damage(expander):
        assert len(expander.reader.rom.words) == len(stream.words)
        expander.reader.rom.words[:] = stream.words.tolist()

    fields, _, intact, error = expand(schedule, damage=damage)
    assert (intact, error) == (False, True)
    assert len(fields) <= len(in_order(schedule))
