# amaranth: UnusedElaboratable=no
"""Serial codes from end to end: expanded after reset, then the same bits in the modelled cycles."""

from dataclasses import replace

import numpy as np
import pytest

from organza.codes import CODES, SERIAL
from organza.program import Program
from organza_hw.build import memory_words
from organza_hw.codes import expander_of
from organza_hw.lane_walk import lane_places
from organza_hw.pipeline import Pipeline
from organza_hw.weights import LOAD_LATENCY, load_cycles
from organza_sim.api import build, simulate
from organza_sim.beats import Beat, to_beats
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.pysim import run
from organza_sim.rtl import RtlError
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import random_plan
from tests.repeated import some_now
from tests.strategies import random_convolve, random_input

pytestmark = pytest.mark.rtl
LIMITS = {"max_positions": 20, "max_macs": 1000, "max_kernel": 4}


def mixed(seed, kinds):
    """Layers with these codes, one after the other."""
    rng = np.random.default_rng(seed)
    nodes = []
    for number, kind in enumerate(kinds):
        chain = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        nodes.append(random_convolve(rng, name=f"layer{number}", code=kind, **chain, **LIMITS))
    program = Program(tuple(nodes))
    return Case(program, random_plan(rng, program), random_input(rng, program, 2))


@pytest.mark.parametrize("kind", SERIAL)
@pytest.mark.parametrize("seed", some_now(range(6), 2))
def test_layers(kind, seed):
    chosen = mixed(seed, [kind])
    model = check_free(chosen)
    assert min(model.engines[0].start) >= load_cycles(chosen.schedules[0]) > LOAD_LATENCY
    check_stalled(chosen, seed)


@pytest.mark.parametrize("seed", some_now(range(12), 4))
def test_pipelines(seed):
    rng = np.random.default_rng([7, seed])
    kinds = [str(rng.choice(list(SERIAL))), *rng.choice(list(CODES), 1 + seed % 2)]
    rng.shuffle(kinds)
    chosen = mixed(seed, kinds)
    check_free(chosen)
    check_stalled(chosen, seed + 3)


def test_all_codes_at_once():
    chosen = mixed(5, list(CODES))
    check_free(chosen)


def test_the_planner_keeps_the_lanes_of_a_code():
    chosen = mixed(9, ["linear", "blockhash", "linear"])
    code = chosen.program.nodes[1].code
    ti, to = code.lane_shape
    assert ti and to
    plan = plan_program(chosen.program, ti * to + 10)
    engine = plan.engines[1]
    assert (engine.Ti, engine.layers[0].To) == (ti, to) and plan.lanes <= ti * to + 10
    least = ti * to + 2
    assert plan_program(chosen.program, least).lanes == least
    with pytest.raises(ValueError, match=f"^Lane budget must be at least {least}, one for each"):
        plan_program(chosen.program, least - 1)


@pytest.mark.slow
def test_verilog():
    """The generated Verilog, with memory images in files and a real reset: the same cycles."""
    chosen = mixed(5, list(SERIAL))
    chip = build(chosen.program, lanes=12)
    found = simulate(chip, chosen.x)
    assert np.array_equal(found.outputs, chosen.program.run(chosen.x))
    model = simulate_cycles(chosen.program, chip.plan, len(chosen.x))
    assert (np.array(model.sent) - model.first).tolist() == found.image_ends.tolist()


def test_later_images_wait_for_nothing():
    """Expansion delays the first image only: the interval is that of the same layers in a ROM."""
    chosen = mixed(1, ["linear", "huffman"])
    nodes = chosen.program.nodes
    plain = Program((nodes[0], replace(nodes[1], code=nodes[1].code.inner)))
    serial_plan, plain_plan = plan_program(chosen.program, 8), plan_program(plain, 8)
    assert [engine.memory for engine in serial_plan.engines] == ["rom", "expand"]
    assert serial_plan.interval == plain_plan.interval
    loaded = load_cycles(serial_plan.schedules(chosen.program)[1])
    # Rows move in the meantime, so not all of the expansion is waited for.
    assert plain_plan.cycles <= serial_plan.cycles <= plain_plan.cycles + loaded


def test_memories_hold_what_is_stored():
    """Images are as large as `image_bits` says, the buffer as `buffer_bits`."""
    for seed, kind in enumerate(list(SERIAL) * 3):
        chosen = mixed(seed, [kind])
        schedule, code = chosen.schedules[0], chosen.program.nodes[0].code
        images = memory_words(chosen.program, chosen.plan)
        stored = [
            width * len(words)
            for name, (width, words) in images.items()
            if name not in ("layer0_constants.hex", "layer0_table.hex")
        ]
        found = sum(stored)
        assert found == code.image_bits(schedule.ti, schedule.to, schedule.node.groups)
        size = np.prod(code.shape)
        assert schedule.buffer_bits == code.field_bits * lane_places(schedule)
        waits = (expander_of(code).interval(code) - 1) * size
        assert load_cycles(schedule) >= expander_of(code).latency + waits + size - 1 + LOAD_LATENCY


@pytest.mark.parametrize("kind", ["huffman", "rle"])
def test_a_damaged_stream_stays_silent(kind):
    """The source is served until the ring is full, the error is seen inside, nothing comes out."""
    chosen = mixed(2, ["linear", kind])
    pipeline = Pipeline(chosen.program, chosen.plan, files=False)
    stream = pipeline.engines[1].weights.roms[0]
    stream.words[len(stream.words) // 2] ^= 1
    formats = [chosen.program.input, chosen.program.output]
    joints = chosen.plan.joints
    beats, last = to_beats(chosen.x, joints[0].n)
    shapes = [
        Beat(n, form.bits, form.signed)
        for form, n in zip(formats, (joints[0].n, joints[-1].n), strict=True)
    ]
    with pytest.raises(RtlError, match="^No transfer for .* 0 of 1 given$"):
        run(pipeline, beats, last, i=shapes[0], o=shapes[1], outputs=1, watchdog=3000)


def test_a_plan_for_another_memory():
    chosen = mixed(0, ["linear", "rle"])
    rom = [replace(engine, memory="rom") for engine in chosen.plan.engines]
    expand = [replace(engine, memory="expand") for engine in chosen.plan.engines]
    with pytest.raises(
        ValueError, match=r"^layer1: memory of a rle code in row order must be 'expand', not 'rom'$"
    ):
        simulate_cycles(chosen.program, replace(chosen.plan, engines=tuple(rom)), 1)
    with pytest.raises(
        ValueError, match=r"^layer0: memory of a linear code in row order must be 'rom', not 'expand'$"
    ):
        simulate_cycles(chosen.program, replace(chosen.plan, engines=tuple(expand)), 1)
