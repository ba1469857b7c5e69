"""Chips whose weights are loaded, in Verilator."""

import numpy as np
import pytest

from organza.loadable import loadable
from organza_hw.build import build
from organza_hw.loading.image import weight_image
from organza_sim import api, rtl
from organza_sim.planner import plan_program
from tests.loadable_programs import other_weights
from tests.tiny import LANES, tiny_inputs, tiny_program


@pytest.fixture(scope="module")
def chip():
    program = loadable(tiny_program())
    return build(program, plan_program(program, LANES))


def test_two_programs_on_one_chip(chip):
    """Both bit-exact and cycle-exact; neither is in the bitstream."""
    other, x = other_weights(np.random.default_rng(1), chip.program), tiny_inputs(3)
    assert chip.files == {}
    for weights in (None, other, None):
        made = api.simulate(chip, x, weights=weights)
        assert np.array_equal(made.outputs, (weights or tiny_program()).run(x))
        assert (made.latency, made.interval) == (chip.plan.cycles, chip.plan.interval)
    assert not np.array_equal(other.run(x), tiny_program().run(x))
