# amaranth: UnusedElaboratable=no
"""The index generator in gateware: the software's weights, one a cycle where lanes are full."""

import pytest

from organza.codes import Hashed
from organza_hw.codes.hashed import HashedExpander
from tests.organza_hw.codes.serial import check, expand, random_layer


@pytest.mark.parametrize("seed", range(20))
def test_fields(seed):
    schedule = random_layer("hashed", seed)
    assert isinstance(schedule.node.code, Hashed)
    check(schedule, seed)


def test_one_a_cycle():
    schedule = random_layer("hashed", 1, input_shape=(6, 1, 1), geometry="point", groups=False)
    full = type(schedule)(node=schedule.node, ti=3, to=1)
    fields, cycles, _, _ = expand(full)
    assert cycles == list(range(HashedExpander.latency, HashedExpander.latency + len(fields)))
