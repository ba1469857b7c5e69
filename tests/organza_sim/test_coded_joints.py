# amaranth: UnusedElaboratable=no
"""Pipelines with run-length coded joints: every bit, and exactly the cycles of the model, whatever the data."""

from dataclasses import replace

import numpy as np
import pytest

from organza.run_length import BLOCK, RUN_BITS, lane_tokens
from organza_sim.beats import to_beats
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.report import joint_traffic
from tests.organza_sim.layer_cases import Case, case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.organza_sim.test_signs import chain
from tests.repeated import some_now

pytestmark = pytest.mark.rtl
PIPELINES = 6


def coded(chosen):
    """The case with every joint between engines coded."""
    first, *inner, last = chosen.plan.joints
    joints = (first, *(replace(joint, coding="rle") for joint in inner), last)
    return Case(chosen.program, replace(chosen.plan, joints=joints), chosen.x)


def coded_case(seed):
    return coded(case(seed, layers=2 + seed % 2, code=None))


def row_beats(chosen):
    """Beats of a row at every joint between engines."""
    return [node.x.output * -(-node.co // joint.n)
            for node, joint in zip(chosen.program.nodes, chosen.plan.joints[1:-1], strict=False)]  # fmt: skip


@pytest.mark.parametrize("seed", some_now(range(PIPELINES), 3))
def test_pipelines(seed):
    chosen = coded_case(seed)
    check_free(chosen)
    check_stalled(chosen, seed + 5)


def test_the_pipelines_cover_the_blocks():
    beats = {count for seed in range(PIPELINES) for count in row_beats(coded_case(seed))}
    assert min(beats) < BLOCK and max(beats) > 2 * BLOCK
    assert {count % BLOCK for count in beats} == set(range(BLOCK))


def test_cycles_do_not_depend_on_the_data():
    chosen = coded_case(1)
    check_free(Case(chosen.program, chosen.plan, np.zeros_like(chosen.x)))
    check_free(Case(chosen.program, chosen.plan, np.ones_like(chosen.x)))


def test_traffic():
    """Bits of every joint, from the tokens of every lane."""
    chosen = coded_case(1)
    layers = chosen.program.run_layers(chosen.x)
    made = joint_traffic(chosen.program, chosen.plan, layers)
    assert [entry["joint"] for entry in made] == [*range(1, len(layers))]
    counts = zip(made, chosen.program.nodes, layers, chosen.plan.joints[1:], row_beats(chosen), strict=False)
    for entry, node, values, joint, beats_a_row in counts:
        beats, _ = to_beats(values, joint.n)
        tokens = [token for lane in beats.T for token in lane_tokens(lane, beats_a_row)]
        bits = sum(1 + (RUN_BITS if token.run else node.output.bits) for token in tokens)
        assert entry["rle_bits"] == bits / len(values) and entry["coding"] == "rle"
        assert entry["plain_bits"] == beats.size * node.output.bits / len(values)


def test_signs():
    """On the wires a 1 is what stands for −1, and a run is one of 1."""
    chosen = coded(chain(2, "binary"))
    check_free(chosen)
    check_stalled(chosen, 3)
    layers = chosen.program.run_layers(chosen.x)
    for entry, values in zip(joint_traffic(chosen.program, chosen.plan, layers), layers, strict=False):
        assert entry["zeros"] >= (values == 1).mean() * values.size / entry["plain_bits"] / len(values) > 0


def test_planned():
    chosen = case(2, layers=3)
    plan = plan_program(chosen.program, 12, coding="rle")
    assert [joint.coding for joint in plan.joints] == ["plain", "rle", "rle", "plain"]
    assert check_free(Case(chosen.program, plan, chosen.x)).sent[0] > 0
    plain = plan_program(chosen.program, 12)
    assert plan.interval == simulate_cycles(chosen.program, plan, 6).interval
    assert plan.interval >= plain.interval
    assert plan.resources["joint_bits"] > plain.resources["joint_bits"] == 0
    with pytest.raises(ValueError, match="^Joint coding must be 'plain' or 'rle', not 'zip'$"):
        plan_program(chosen.program, 12, coding="zip")
