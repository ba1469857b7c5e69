# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth.hdl import Fragment
from torch import nn

from organza import lower
from organza.formats import Fixed
from organza.schedule import Schedule
from organza_hw.engine import Engine, output_latency
from organza_hw.formats import wire_shape
from organza_hw.weights import pack_words
from organza_sim.beats import Beat, from_beats, last_flags, to_beats
from organza_sim.cycles import run_recurrence
from organza_sim.pysim import run
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.organza_sim.layer_cases import case


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_patterns_crossed(idle, pressure):
    """An engine between every kind of neighbour: the same data, in exactly the modelled cycles, then silence."""
    chosen = case(CROSSED.index((idle, pressure)))
    schedule, (before, after) = chosen.schedules[0], chosen.plan.joints
    node = schedule.node
    engine = Engine(schedule, n_in=before.n, n_out=after.n, depth=before.depth)
    beats, last = to_beats(chosen.x, before.n)
    outputs = len(chosen.x) * node.y.output * node.x.output * -(-node.co // after.n)
    made = run(engine, beats, last, i=Beat.of(wire_shape(node.input), before.n),
               o=Beat.of(wire_shape(node.output), after.n), outputs=outputs, stall_in=PATTERNS[idle],
               stall_out=PATTERNS[pressure])  # fmt: skip
    assert np.array_equal(from_beats(made.outputs, *node.output_shape), chosen.program.run(chosen.x))
    assert np.array_equal(made.last, last_flags(len(chosen.x), outputs // len(chosen.x)))
    model = run_recurrence([schedule], (before, after), len(chosen.x), stall_in=PATTERNS[idle],
                           stall_out=PATTERNS[pressure])  # fmt: skip
    assert (model.first, model.sent) == (made.in_cycles[0], made.image_ends.tolist())


def test_a_row_leaves_after_its_latency():
    """`output_latency` after its last issue a row is complete; its first beat passes three cycles later."""
    for seed in range(0, 14):
        chosen = case(seed)
        schedule, (before, after) = chosen.schedules[0], chosen.plan.joints
        node = schedule.node
        engine = Engine(schedule, n_in=before.n, n_out=after.n, depth=before.depth)
        beats, last = to_beats(chosen.x[:1], before.n)
        outputs = node.y.output * node.x.output * -(-node.co // after.n)
        made = run(engine, beats, last, i=Beat.of(wire_shape(node.input), before.n),
                   o=Beat.of(wire_shape(node.output), after.n), outputs=outputs)  # fmt: skip
        end = run_recurrence([schedule], (before, after), 1).engines[0].end[0]
        assert made.out_cycles[0] == end + output_latency(schedule) + 3


def test_memories():
    """Weights in the order of the issues, and a constant word for every epilogue step."""
    for seed in range(14):
        schedule = case(seed).schedules[0]
        node = schedule.node
        engine = Engine(schedule, n_in=1, n_out=node.co, depth=schedule.least_depth, file="part")
        Fragment.get(engine, None)
        names = [rom.file for rom in engine.roms]
        table = ["part_table.hex"] if node.epilogue.table is not None else []
        assert names == ["part_weights.hex", "part_constants.hex", *table]
        assert len(engine.constants.words) == schedule.co_tiles * schedule.chunks
        bits, total = node.code.bits, 0
        for word in engine.weights.rom.words:
            fields = [word >> (k * bits) & ((1 << bits) - 1) for k in range(schedule.ti * schedule.to)]
            total += sum(value - (value >> (bits - 1) << bits) for value in fields)
        assert total == node.code.integers().sum()


def test_pack_words():
    fields = np.array([[1, 2, 3], [15, 0, 8]])
    assert pack_words(fields, 4) == [0x321, 0x80F]


def test_wire_shape():
    for fixed, width, signed in ((Fixed(8, True, 1.0), 8, True), (Fixed(1, False, 1.0), 1, False)):
        assert (wire_shape(fixed).width, wire_shape(fixed).signed) == (width, signed)


def test_wrong_output_width():
    schedule = next(c.schedules[0] for c in map(case, range(70)) if c.schedules[0].e > 1)
    node = schedule.node
    for n in (schedule.e - 1, node.co + 1):
        message = f"layer: n_out must be between E = {schedule.e} and {node.co}, not {n}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Engine(schedule, n_in=1, n_out=n, depth=schedule.least_depth)


def test_managed_exponents_that_come_too_late():
    """Images that follow each other at once leave 12 cycles; the largest of 128 values takes a cycle more."""
    rng = np.random.default_rng(0)
    layers = [nn.ConvTranspose2d(2, 2, 1), nn.ReLU(), nn.ConvTranspose2d(2, 128, 1), nn.ReLU(), nn.ConvTranspose2d(128, 1, 1), nn.Tanh()]
    program = lower(nn.Sequential(*layers).eval(), rng.normal(size=(4, 2, 1, 1)), code="flexpoint:managed")
    node = program.nodes[1]
    Fragment.get(Engine(Schedule(node=node, ti=1, to=128, p=1, e=64), n_in=2, n_out=128, depth=2), None)
    with pytest.raises(ValueError, match="^2: E must be smaller with managed exponents, not 128$"):
        Engine(Schedule(node=node, ti=1, to=128, p=1, e=128), n_in=2, n_out=128, depth=2)
