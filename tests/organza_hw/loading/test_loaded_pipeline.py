# amaranth: UnusedElaboratable=no
"""Weights that are loaded: bit-exact and cycle-exact as if they were in the bitstream, whatever came before."""

import numpy as np
import pytest

from organza.loadable import fitted
from organza_sim.cycles import simulate_cycles
from organza_sim.pysim import simulate_pipeline
from tests.loadable_programs import KINDS, other_weights, random_loadable
from tests.organza_hw.patterns import PATTERNS
from tests.plans import random_plan
from tests.strategies import random_input


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1, 2))])
def test_own_and_other_weights(kind, seed):
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    program = random_loadable(rng, kind, max_macs=600, max_positions=20)
    plan = random_plan(rng, program, orders=("row", "weight"))
    other = other_weights(rng, program)
    x = random_input(rng, program, 2)
    stalls = [{}, {"stall_in": PATTERNS["bursts"], "stall_out": PATTERNS["every other"]}][seed % 2]
    wanted = [program.run(x), fitted(other, program).run(x)]
    assert np.array_equal(wanted[1], other.run(x))
    for weights, y in zip((None, other), wanted, strict=True):
        outputs, run = simulate_pipeline(program, plan, x, weights=weights, **stalls)
        assert np.array_equal(outputs, y)
        model = simulate_cycles(program, plan, 2, **stalls)
        assert [model.first, *model.sent] == [run.in_cycles[0], *run.image_ends]
