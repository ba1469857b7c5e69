# amaranth: UnusedElaboratable=no
"""The hash of an address in gateware against the software, and what only one shape of lanes can run."""

from dataclasses import replace

import numpy as np
import pytest

from organza.codes.blockhash import hash_words
from organza.schedule import Schedule
from organza_hw.codes.blockhash import RowHash
from organza_sim.pysim import trace_cycles
from tests.strategies import random_convolve


@pytest.mark.parametrize(("lanes", "row_bits"), [(1, 0), (6, 3), (40, 12)])
def test_rows_and_signs(lanes, row_bits):
    component = RowHash(addresses=500, lanes=lanes, row_bits=row_bits)
    order = np.random.default_rng(0).permutation(500).tolist()
    seen = trace_cycles(component, ({"addr": addr} for addr in [*order, *[0] * RowHash.LATENCY]), ["row", "negative"])
    rows, signs = hash_words(500, lanes, row_bits)
    for addr, (row, negative) in zip(order, seen[RowHash.LATENCY :], strict=True):
        assert row == rows[addr]
        assert [negative >> lane & 1 for lane in range(lanes)] == (signs[addr] < 0).tolist()


def test_other_lanes_are_refused():
    node = random_convolve(
        np.random.default_rng(2), code="blockhash", input_shape=(5, 2, 2), groups=False
    )
    ti, to = node.code.lane_shape
    assert ti and to
    Schedule(node=node, ti=ti, to=to)
    with pytest.raises(
        ValueError, match=f"^layer: code is for {ti}×{to} lanes, not {ti + 1}×{to}$"
    ):
        Schedule(node=node, ti=ti + 1, to=to)
    with pytest.raises(ValueError, match="^layer: code is for 5 groups, not 1$"):
        replace(node, code=replace(node.code, rows=node.code.rows[:, :, :1], groups=5))
