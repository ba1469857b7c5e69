# amaranth: UnusedElaboratable=no
"""The factor expander in gateware: the software's weights, one every `terms` cycles."""

import pytest

from organza_hw.codes.multihash import MultiHashExpander, reciprocal
from tests.organza_hw.codes.serial import check, expand, random_layer


@pytest.mark.parametrize("seed", range(16))
def test_fields(seed):
    check(random_layer("multihash", seed, max_channels=3), seed)


def test_one_every_few_cycles():
    schedule = random_layer("multihash", 1, input_shape=(6, 1, 1), geometry="point", groups=False)
    full = type(schedule)(node=schedule.node, ti=3, to=1)
    terms = schedule.node.code.terms
    fields, cycles, _, _ = expand(full)
    start = MultiHashExpander.latency + terms - 1
    assert cycles == list(range(start, start + terms * len(fields), terms))


def test_reciprocals_divide_exactly():
    for divisor in range(1, 70):
        below = divisor * divisor + 5
        factor, shift = reciprocal(divisor, below)
        assert all(value * factor >> shift == value // divisor for value in range(below))
