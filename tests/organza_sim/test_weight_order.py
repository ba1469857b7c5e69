# amaranth: UnusedElaboratable=no
"""Weight order in RTL: every bit and every cycle, alone and between engines of row order, every code, streams too."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Module, Signal

from organza.codes import CODES, SERIAL
from organza.geometry import Axis
from organza.program import Convolve, Program
from organza_hw import code_reader
from organza_hw.build import memory_words
from organza_hw.lanes.dot import register
from organza_hw.pipeline import Pipeline
from organza_hw.rom import Rom
from organza_sim.beats import Beat, to_beats
from organza_sim.cycles import simulate_cycles
from organza_sim.issue_times import engine_cycles
from organza_sim.pysim import run
from organza_sim.rtl import RtlError
from tests.organza_sim.layer_cases import WEIGHT_ORDER, Case, case, features
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import ORDERS, random_plan, random_schedule
from tests.repeated import some_now
from tests.strategies import random_code, random_convolve, random_epilogue, random_input

pytestmark = pytest.mark.rtl
LAYERS, PIPELINES = range(14), (0, 3, 4, 6)
# Kernel, up, down, crops before and after: unbalanced phases, output padding, asymmetric crops, K < S, subsampling.
GEOMETRIES = ((3, 2, 1, 1, 0), (5, 2, 1, 2, 1), (2, 3, 1, 0, 0), (3, 1, 2, 1, 1), (4, 2, 1, 2, 0), (5, 3, 2, 1, 2), (3, 1, 1, -1, 1))


def chain(seed, kinds, orders, *, images=2, **limits):
    """Layers with these codes, one after the other, each in one of `orders`."""
    rng, nodes = np.random.default_rng(seed), []
    for number, kind in enumerate(kinds):
        before = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        nodes.append(random_convolve(rng, name=f"layer{number}", code=kind, **before, **limits))
    program = Program(tuple(nodes))
    return Case(program, random_plan(rng, program, orders=orders), random_input(rng, program, images))


@pytest.mark.parametrize("seed", some_now(LAYERS, 6))
def test_layers(seed):
    chosen = case(seed, orders=("weight",))
    check_free(chosen)
    check_stalled(chosen, seed)


def test_the_layers_cover_what_the_order_brings():
    found = set().union(*(features(case(seed, orders=("weight",))) for seed in LAYERS))
    assert WEIGHT_ORDER <= found, sorted(WEIGHT_ORDER - found)
    assert {"groups", "one position", "masked lanes", "output padding", "K below S"} <= found


@pytest.mark.parametrize("number, kind", list(enumerate(CODES)), ids=list(CODES))
def test_every_code(number, kind):
    """One geometry a code, all of them used; the others in `make test-full`."""
    check_geometry(number % len(GEOMETRIES), kind)


@pytest.mark.full
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("number", range(len(GEOMETRIES)))
def test_every_code_in_every_geometry(number, kind):
    check_geometry(number, kind)


def check_geometry(number, kind):
    """A layer of 4×3 pixels in one of `GEOMETRIES`."""
    kernel, up, down, before, after = GEOMETRIES[number]
    rng = np.random.default_rng(number)
    axis = {"kernel": kernel, "up": up, "down": down, "crop_before": before, "crop_after": after}
    drawn = case(0).program.nodes[0]
    code = random_code(rng, (3, 2, kernel, kernel), kind)
    bound = np.abs(code.integers()).sum((0, 2, 3)) * drawn.input.magnitude
    node = Convolve(
        name="layer", y=Axis(size=4, **axis), x=Axis(size=3, **axis), groups=1, code=code,
        epilogue=random_epilogue(rng, bound, drawn.output, kind="leaky"), input=drawn.input, output=drawn.output,
    )  # fmt: skip
    program = Program((node,))
    chosen = Case(program, random_plan(rng, program, orders=("weight",)), random_input(rng, program, 2))
    check_free(chosen)
    check_stalled(chosen, number)


@pytest.mark.parametrize("kind", SERIAL)
@pytest.mark.parametrize("seed", range(2))
def test_streams(kind, seed):
    """Lanes that wait for words, and an expander that waits for lanes; the interval is that of the engine alone."""
    chosen = next(
        made for k in itertools.count(seed, 2)
        if (made := chain(k, [kind], ("weight",), images=3, max_macs=1500)).schedules[0].streams
    )  # fmt: skip
    check_free(chosen)
    check_stalled(chosen, seed, images=3)


def test_streams_wait_for_either_side():
    """Some passes are longer than filling a word, and some are shorter."""
    waits = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        schedule = random_schedule(rng, random_convolve(rng, code="hashed"), orders=("weight",))
        if schedule.streams:
            waits.add(engine_cycles(schedule) > schedule.cycles + 20)
    assert waits == {False, True}


@pytest.mark.parametrize("seed", PIPELINES)
def test_pipelines_of_both_orders(seed):
    chosen = case(seed, layers=2 + seed % 2, code=None, orders=ORDERS)
    check_free(chosen)
    check_stalled(chosen, seed)


def test_the_pipelines_mix_the_orders():
    found = [[schedule.order for schedule in case(seed, layers=2 + seed % 2, code=None, orders=ORDERS).schedules]
             for seed in PIPELINES]  # fmt: skip
    pairs = {pair for orders in found for pair in itertools.pairwise(orders)}
    assert pairs == set(itertools.product(ORDERS, repeat=2))


FIVE = ("linear", "huffman", "ternary", "sparse", "hashed")


def test_five_layers_of_five_codes_in_both_orders():
    """A generator of transposed convolutions; the first serial layer is streamed, the second expanded."""
    rng, nodes = np.random.default_rng(5), []
    for number, kind in enumerate(FIVE):
        before = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        nodes.append(
            random_convolve(rng, name=f"layer{number}", code=kind, geometry="transposed", max_positions=30, **before)
        )
    program = Program(tuple(nodes))

    def wanted(plan):
        found = [(schedule.order, schedule.memory) for schedule in plan.schedules(program)]
        return found[1] == ("weight", "stream") and {order for order, _ in found[2:]} == set(ORDERS) and found[4][1] == "expand"

    plans = (random_plan(np.random.default_rng(seed), program, orders=ORDERS) for seed in itertools.count())
    plan = next(filter(wanted, plans))
    chosen = Case(program, plan, random_input(rng, program, 2))
    check_free(chosen)
    check_stalled(chosen, 5)


def test_memories_hold_what_is_streamed():
    """Images are as large as `image_bits` says; where all taps are used, those of the other order are as large."""
    for seed, kind in enumerate(list(SERIAL) * 3):
        chosen = chain(seed, [kind], ("weight",), max_macs=1000)
        schedule, code = chosen.schedules[0], chosen.program.nodes[0].code
        stored = sum(
            width * len(words) for name, (width, words) in memory_words(chosen.program, chosen.plan).items()
            if name not in ("layer0_constants.hex", "layer0_table.hex")
        )  # fmt: skip
        lanes = schedule.ti, schedule.to, schedule.node.groups
        assert stored == code.image_bits(*lanes, schedule.streamed_words)
        words = schedule.streamed_words
        if words is not None and kind != "rle" and len(words) == schedule.tap_issues.sum():
            assert stored == code.image_bits(*lanes)


def outputs_of(chosen, pipeline, images):
    """Beats that leave until nothing moves any more, of `images` images."""
    joints, node = chosen.plan.joints, chosen.program.nodes[-1]
    beats, last = to_beats(chosen.x, joints[0].n)
    shapes = [
        Beat(n, form.bits, form.signed)
        for form, n in zip((chosen.program.input, chosen.program.output), (joints[0].n, joints[-1].n), strict=True)
    ]
    per_image = node.y.output * node.x.output * -(-node.co // joints[-1].n)
    watchdog = 500 + 2 * sum(map(engine_cycles, chosen.schedules))
    with pytest.raises(RtlError) as stuck:
        run(pipeline, beats, last, i=shapes[0], o=shapes[1], outputs=images * per_image, watchdog=watchdog)
    assert stuck.value.kind == "stuck"
    given = int(str(stuck.value).rsplit(",", 1)[1].split()[0])
    assert given % per_image == 0
    return given // per_image


def streamed(kind):
    """A layer of row order, then a streamed one."""
    return next(
        made for seed in itertools.count(2)
        if (made := chain(seed, ["linear", kind], ("weight",), images=4, max_positions=20, max_macs=800)).schedules[1].streams
        and len(made.schedules[1].streamed_words) > 3
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["huffman", "rle"])
def test_a_damaged_stream_never_sends_an_image(kind):
    """Whether the damage is in the first word, in the last one, or only in the check sum."""
    chosen = streamed(kind)
    _, words = memory_words(chosen.program, chosen.plan)["layer1_weights.hex"]
    for place in {0, len(words) // 2, len(words) - 1}:
        pipeline = Pipeline(chosen.program, chosen.plan, files=False)
        pipeline.engines[1].weights.roms[0].words[place] ^= 1
        assert outputs_of(chosen, pipeline, 1) == 0


class WornRom(Rom):
    """A ROM whose middle word is wrong from its third reading on."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Rom(width=self.width, words=self.words)
        here = self.addr == len(self.words) // 2
        before, reads = Signal(), Signal(2, reset_less=True)  # the expander starts again for every image
        m.d.sync += [before.eq(here), reads.eq(reads + (here & ~before & (reads != 3)))]
        m.d.comb += [words.addr.eq(self.addr), self.data.eq(words.data ^ register(m, before & (reads == 3), stages=self.LATENCY - 1))]
        return m


@pytest.mark.parametrize("kind", ["huffman", "rle"])
def test_damage_that_comes_later_stops_the_images_from_then_on(monkeypatch, kind):
    monkeypatch.setattr(code_reader, "Rom", WornRom)
    chosen = streamed(kind)
    assert outputs_of(chosen, Pipeline(chosen.program, chosen.plan, files=False), 4) == 2


def test_one_image_is_the_model_too():
    for seed in range(2):
        chosen = chain(seed, ["huffman"], ("weight",), images=1, max_macs=600)
        model = check_free(chosen)
        assert model.sent == simulate_cycles(chosen.program, chosen.plan, 1).sent
