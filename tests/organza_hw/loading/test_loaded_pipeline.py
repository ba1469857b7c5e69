# amaranth: UnusedElaboratable=no
"""Weights that are loaded: bit-exact and cycle-exact as if they were in the bitstream, whatever came before."""

import numpy as np
import pytest

from organza.loadable import fitted
from organza_hw.loading.image import weight_image
from organza_sim.cycles import simulate_cycles
from organza_sim.pysim import simulate_pipeline
from tests.loadable_programs import KINDS, other_weights, random_loadable, use_of
from tests.organza_hw.patterns import PATTERNS
from tests.plans import random_plan
from tests.repeated import some_now
from tests.shared_engines import shared_case
from tests.strategies import random_input

STALLS: list[dict] = [{}, {"stall_in": PATTERNS["bursts"], "stall_out": PATTERNS["every other"]}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", some_now(range(3), 1))
def test_own_and_other_weights(kind, seed):
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    program = random_loadable(rng, kind, max_macs=600, max_positions=20)
    plan = random_plan(rng, program, orders=("row", "weight"))
    other = other_weights(rng, program)
    x = random_input(rng, program, 2)
    stalls = STALLS[seed % 2]
    wanted = [program.run(x), fitted(other, program).run(x)]
    assert np.array_equal(wanted[1], other.run(x))
    for weights, y in zip((None, other), wanted, strict=True):
        outputs, run = simulate_pipeline(program, plan, x, weights=weights, **stalls)
        assert np.array_equal(outputs, y)
        model = simulate_cycles(program, plan, 2, **stalls)
        assert [model.first, *model.sent] == [run.in_cycles[0], *run.image_ends]


# Linear and ternary, four and five in a byte, tables of some layers; only those that share, only others, all and all but one are loaded.
FEW = ((True, 6), (True, 8), (True, 10), (False, 0), (False, 5), (False, 11))
MORE = [(alone, seed) for alone in (True, False) for seed in range(20) if (alone, seed) not in FEW]


@pytest.mark.parametrize(("alone", "seed"), [*FEW, *(pytest.param(*case, marks=pytest.mark.full) for case in MORE)])
def test_shared_engines(alone, seed):
    """Layers that share an engine, alone and between others: with other weights, and with their own in a chip that was at work with the others."""
    case = shared_case(seed, alone=alone, images=2, loads=True)
    program, plan, x, rng = case.program, case.plan, case.x, np.random.default_rng([seed, alone])
    other = fitted(other_weights(rng, program), program)
    stalls = STALLS[seed % 2]
    model = simulate_cycles(program, plan, len(x), **stalls)
    use = use_of(rng, weight_image(program, plan, other), int(rng.integers(20, model.sent[0])))
    for weights, before in ((other, None), (program, use)):
        outputs, run = simulate_pipeline(program, plan, x, weights=weights, before=before, **stalls)
        assert np.array_equal(outputs, weights.run(x))
        assert [model.first, *model.sent] == [run.in_cycles[0], *run.image_ends]
