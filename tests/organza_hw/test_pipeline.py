# amaranth: UnusedElaboratable=no
import re
from dataclasses import replace

import numpy as np
import pytest

from organza_hw.pipeline import Pipeline
from organza_hw.verilog import to_verilog
from organza_sim.cycles import simulate_cycles
from organza_sim.pysim import simulate_pipeline
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.organza_sim.layer_cases import case


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_patterns_crossed(idle, pressure):
    """Layers in a row between every kind of neighbour: the same data, in the modelled cycles, then silence."""
    number = CROSSED.index((idle, pressure))
    chosen = case(number + 100, layers=2 + number % 2, max_cycles=600)
    stalls = {"stall_in": PATTERNS[idle], "stall_out": PATTERNS[pressure]}
    outputs, made = simulate_pipeline(chosen.program, chosen.plan, chosen.x, watch=True, **stalls)
    assert np.array_equal(outputs, chosen.program.run(chosen.x))
    model = simulate_cycles(chosen.program, chosen.plan, len(chosen.x), **stalls)
    assert (model.first, model.sent) == (made.in_cycles[0], made.image_ends.tolist())
    layers = chosen.program.run_layers(chosen.x)
    for k, joint in enumerate(chosen.plan.joints[1:], 1):
        channels = layers[k - 1].shape[1]
        pixels = layers[k - 1].transpose(0, 2, 3, 1).reshape(-1, channels)
        beats = made.joints[k].beats.reshape(len(pixels), -1)
        assert np.array_equal(beats[:, :channels], pixels) and not beats[:, channels:].any()
        assert joint.n == made.joints[k].beats.shape[1]


def test_joints_are_named_in_the_verilog():
    chosen = case(100, layers=2)
    text = to_verilog(Pipeline(chosen.program, chosen.plan), "generator")
    top = text[text.index("module generator(") :]
    for k in range(3):
        for part in ("payload", "valid", "ready"):
            assert re.search(rf"\bwire (\[\d+:0\] )?joint{k}_{part};", top)


def test_files_are_numbered_by_layer():
    chosen = case(100, layers=2)
    pipeline = Pipeline(chosen.program, chosen.plan)
    to_verilog(pipeline, "generator")
    names = [rom.file for engine in pipeline.engines for rom in engine.roms]
    assert {name.split("_")[0] for name in names} == {"layer0", "layer1"}
    inside = Pipeline(chosen.program, chosen.plan, files=False)
    assert "organza_rom" not in to_verilog(inside, "generator")
    assert not [rom for engine in inside.engines for rom in engine.roms]


def test_a_plan_of_another_program():
    chosen = case(100, layers=2)
    with pytest.raises(ValueError, match=r"^Plan belongs to Program 0{12}…, not to [0-9a-f]{12}…$"):
        Pipeline(chosen.program, replace(chosen.plan, program="0" * 64))
