# amaranth: UnusedElaboratable=no
"""RTL against reference and cycle model, layer by layer: every bit and every cycle."""

import re

import numpy as np
import pytest

from organza.geometry import Axis
from organza.plan import JointPlan
from organza.program import Program
from organza.schedule import Schedule
from organza.visits import row_needs
from organza_sim.beats import to_beats
from organza_sim.cycles import next_open, run_recurrence, simulate_cycles
from organza_sim.pysim import simulate_pipeline
from organza_sim.rtl import random_stalls
from organza_sim.status import expected_status, status_of, with_headers
from tests.organza_sim.layer_cases import EVERYTHING, case, features
from tests.plans import plan_of
from tests.repeated import some_now
from tests.strategies import random_convolve, random_input

pytestmark = pytest.mark.rtl
LAYERS = 70
PIPELINES = 12
STALLS = (0, 0.1, 0.5, 0.9)


def stalls(seed):
    """Traces for both sides; every pair of intensities comes up."""
    return (random_stalls(STALLS[seed % 4], seed), random_stalls(STALLS[seed // 4 % 4], seed + 1))


def check_free(chosen):
    """Source always valid, sink always ready: equal to the reference and to the model, at every joint."""
    images = len(chosen.x)
    outputs, run = simulate_pipeline(chosen.program, chosen.plan, chosen.x, watch=True)
    layers = chosen.program.run_layers(chosen.x)
    assert np.array_equal(outputs, layers[-1])
    model = simulate_cycles(chosen.program, chosen.plan, images)
    assert model.first == run.in_cycles[0]
    assert model.sent == run.image_ends.tolist()
    assert (model.cycles, model.latency) == (run.cycles, run.latency)
    exponents_of = [None, *chosen.program.trace(chosen.x).exponents]
    for number, (engine, exponents) in enumerate(zip(model.engines, exponents_of, strict=False)):
        cycles = run.joints[number].cycles.reshape(images, -1)[:, int(exponents is not None) :]
        assert engine.accepted == cycles.reshape(len(engine.accepted), -1)[:, -1].tolist()
    for number, (node, values, exponents) in enumerate(zip(chosen.program.nodes, layers, exponents_of[1:], strict=True), 1):
        beats, last = to_beats(node.output.to_wire(values), chosen.plan.joints[number].n)
        if exponents is not None:
            beats, last = with_headers(beats, last, exponents.exponent)
            assert np.array_equal(status_of(run.joints[f"status{number}"]), expected_status(exponents))
        assert np.array_equal(run.joints[number].beats, beats) and np.array_equal(run.joints[number].last, last)
    return model


def check_stalled(chosen, seed, images=2):
    """Random stalls on both sides: the same data, and exactly the cycles that the model makes of the traces."""
    before, after = stalls(seed)
    x = chosen.x[:images]
    outputs, run = simulate_pipeline(chosen.program, chosen.plan, x, stall_in=before, stall_out=after)
    assert np.array_equal(outputs, chosen.program.run(x))
    model = simulate_cycles(chosen.program, chosen.plan, images, stall_in=before, stall_out=after)
    assert model.first == run.in_cycles[0]
    assert model.sent == run.image_ends.tolist()
    assert run.image_ends[-1] >= simulate_cycles(chosen.program, chosen.plan, images).sent[-1]


@pytest.mark.parametrize("seed", some_now(range(LAYERS), 24))
def test_layers(seed):
    chosen = case(seed)
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("seed", some_now(range(PIPELINES), 5))
def test_pipelines(seed):
    chosen = case(seed, layers=2 + seed % 2)
    check_free(chosen)
    check_stalled(chosen, seed + 5)


def test_the_layers_cover_the_geometry():
    found = set().union(*(features(case(seed)) for seed in range(LAYERS)))
    assert EVERYTHING <= found, sorted(EVERYTHING - found)
    assert sum(name.startswith("kernel ") and name[7:].isdigit() for name in found) >= 15
    chosen = [case(seed).schedules[0] for seed in range(LAYERS)]
    assert max(schedule.lanes for schedule in chosen) <= 16
    assert max(schedule.cycles for schedule in chosen) <= 2000


def test_one_output_row_costs_the_closed_form():
    for seed in range(LAYERS):
        chosen = case(seed)
        schedule = chosen.schedules[0]
        model = simulate_cycles(chosen.program, chosen.plan, 2)
        times = model.engines[0]
        costs = [end - start + 1 for start, end in zip(times.start, times.end, strict=True)]
        assert costs == schedule.unit_costs * 2
        assert sum(costs) == 2 * schedule.cycles


@pytest.fixture(scope="module")
def overlapping():
    """Two layers of 16 rows, tight rings: long enough for the layers to work at the same time."""
    rng = np.random.default_rng(3)
    first = random_convolve(rng, name="a", geometry="point", input_shape=(2, 16, 2), groups=False)
    second = random_convolve(rng, name="b", geometry="point", input_shape=first.output_shape, input=first.output,
                             groups=False)  # fmt: skip
    program = Program((first, second))
    schedules = [Schedule(node=node, ti=1, to=1) for node in program.nodes]
    plan = plan_of(program, schedules, [JointPlan(n=1, depth=2), JointPlan(n=1, depth=2), JointPlan(n=1, depth=0)])
    return program, plan


def test_layers_and_images_overlap(overlapping):
    program, plan = overlapping
    x = random_input(np.random.default_rng(0), program, 3)
    outputs, run = simulate_pipeline(program, plan, x, watch=True)
    assert np.array_equal(outputs, program.run(x))
    model = simulate_cycles(program, plan, 3)
    assert model.sent == run.image_ends.tolist()
    # The second layer sends its first beat while the first layer still has more than half of its image to make.
    middle = run.joints[1]
    half = middle.cycles[np.flatnonzero(middle.last)[0] // 2]
    assert run.out_cycles[0] < half
    # The next image enters before the last one has left.
    entered = run.in_cycles[len(run.in_cycles) // 3]
    assert entered < run.image_ends[0]
    assert run.intervals.tolist()[-1] == model.interval < model.latency


def test_nothing_leaves_before_its_image_has_come():
    """Rows that read no input at all still wait for their image."""
    axis = Axis(size=1, kernel=1, up=1, crop_before=-2, crop_after=0)
    assert axis.table[:2] == ((), ())
    assert [(row.window, row.release) for row in row_needs(axis)] == [(1, 0), (1, 0), (1, 1)]


def test_stall_traces():
    opening = next_open(np.array([True, False, True, True]))
    assert [opening(cycle) for cycle in range(9)] == [1, 1, 5, 5, 5, 5, 9, 9, 9]
    assert next_open(np.zeros(1, bool))(7) == 7
    message = "Stall trace must be booleans of one dimension with at least one cycle that is not stalled"
    for wrong in (np.array([0, 1]), np.zeros((1, 1), bool), np.zeros(0, bool), np.ones(3, bool)):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            next_open(wrong)


def test_a_trace_without_stalls_changes_nothing():
    chosen = case(4)
    never = np.zeros(3, bool)
    free = simulate_cycles(chosen.program, chosen.plan, 3)
    assert simulate_cycles(chosen.program, chosen.plan, 3, stall_in=never, stall_out=never) == free


def test_a_ring_that_is_too_shallow_is_refused():
    chosen = next(c for c in map(case, range(LAYERS)) if c.schedules[0].least_depth > 1)
    schedule = chosen.schedules[0]
    joints = (JointPlan(n=1, depth=schedule.least_depth - 1), JointPlan(n=schedule.e, depth=0))
    message = f"layer: ring depth must be at least {schedule.least_depth}, not {schedule.least_depth - 1}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run_recurrence([schedule], joints, 1)
