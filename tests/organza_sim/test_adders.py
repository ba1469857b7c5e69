# amaranth: UnusedElaboratable=no
"""Layers with approximate adders in RTL: tiles that are not full, masked pixel lanes, positions without a tap, the whole road."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import organza
from organza.adders import Adder
from organza.cli import app
from organza.quality import CHECKPOINT, calibration_latents
from organza.schedule import Schedule
from organza_sim.api import build, simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.rtl import random_stalls
from organza_sim.verify import verify
from tests.organza_sim.layer_cases import Case, case, features
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import plan_of

LAYERS = {  # seeds, and what they were chosen for
    68: {"groups", "remainder in ti", "several ci tiles"},
    240: {"masked lanes", "several ci tiles", "notcarry"},
    1: {"position without a tap", "notcarry"},
    43: {"masked lanes", "remainder in ti", "loa"},
}


@pytest.mark.parametrize("seed", LAYERS)
def test_layers(seed):
    chosen = case(seed, code="approximate", max_cycles=800)
    (schedule,) = chosen.schedules
    assert schedule.ti > 2 and features(chosen) | {schedule.node.code.adder.kind} >= LAYERS[seed]
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("seed", LAYERS)
def test_weight_order(seed):
    """The same sums in another order of taps and tiles, from memory and back."""
    chosen = case(seed, code="approximate", max_cycles=800)
    (schedule,), joints = chosen.schedules, chosen.plan.joints
    other = replace(schedule, order="weight", memory="")
    plan = plan_of(chosen.program, [other], [replace(joints[0], depth=max(joints[0].depth, other.least_depth)), joints[1]])
    check_free(Case(chosen.program, plan, chosen.x))


def test_other_trees_are_refused():
    node = next(c.program.nodes[0] for c in (case(s, code="approximate") for s in range(99)) if c.schedules[0].ti > 2)
    ti = node.code.ti
    for to in range(1, node.co // node.groups + 1):
        Schedule(node=node, ti=ti, to=to, p=node.x.output)
    with pytest.raises(ValueError, match=f"^layer: code is for {ti}×any lanes, not {ti - 1}×1$"):
        Schedule(node=node, ti=ti - 1, to=1)


@pytest.mark.rtl
@pytest.mark.full
def test_the_shipped_generator():
    """Two approximate layers through Verilator: every joint compared; the same bits and the model's cycles under stalls."""
    program = organza.lower(CHECKPOINT, calibration_latents(64), code="layer1=binary:loa4,layer2=binary:notcarry2:ti16")
    assert [(node.code.adder, node.code.lane_shape) for node in program.nodes[1:3]] == [
        (Adder("loa", 4), (8, None)), (Adder("notcarry", 2), (16, None)),
    ]  # fmt: skip
    plan = plan_program(program, 133)
    assert [engine.Ti for engine in plan.engines[1:3]] == [8, 16]
    chip = build(program, plan=plan)
    x = program.quantize(np.random.default_rng(0).normal(size=(2, *program.input_shape)))
    result = verify(chip, x)
    assert result.passed
    assert [layer.code for layer in result.layers] == ["linear", "binary:loa4:ti8", "binary:notcarry2:ti16", "linear"]
    stalls = random_stalls(0.3, 1), random_stalls(0.3, 2)
    run = simulate(chip, x, stalls=stalls)
    model = simulate_cycles(program, plan, 2, stall_in=stalls[0], stall_out=stalls[1])
    assert np.array_equal(run.outputs, program.run(x))
    assert run.image_ends.tolist() == [end - model.first for end in model.sent]


@pytest.mark.rtl
def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = "from torch import nn\ndef make():\n    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.ReLU(), "
    (tmp_path / "m.py").write_text(model + "nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Tanh())\n")

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    made = run("build", "m.py:make", "--input-shape", "4,1,1", "--lanes", "9", "-o", "b",
               "--code", "layer0=binary:loa3:ti2,layer1=binary:8:notcarry1")  # fmt: skip
    assert made.exit_code == 0, made.output
    names = ["binary:loa3:ti2", "binary:notcarry1:ti3"]
    assert [layer["code"] for layer in json.loads(run("info", "b", "--json").stdout)["layers"]] == names
    assert [layer["code"] for layer in json.loads((tmp_path / "b" / "report.json").read_text())["layers"]] == names
    page = (tmp_path / "b" / "report.html").read_text()
    checked = run("verify", "b", "--images", "3")
    assert checked.exit_code == 0, checked.output
    for name in names:
        assert name in run("info", "b").stdout and name in page and name in checked.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("binary:loa", "code binary takes a whole number of activations, loaN, notcarryN, tiN, not 'loa'"),
        ("binary:loa9", "0: binary code must have numbers of at least 9 bits as activations with loa9 adders, not Fixed("),
        ("binary:loa2:loa3", "code binary takes one loa, not 'binary:loa2:loa3'"),
        ("binary:loa2:notcarry3", "0: binary takes one adder, not loa2 and notcarry3"),
        ("binary:loa2:ti0", "0: Binary ti must be between 1 and 4, the input channels, not 0"),
        ("layer1=binary:1:loa2", "2: binary adders must be exact where activations are signs, not loa2"),
        ("huffman+binary:loa2", "0: huffman must be around binary weights with exact adders, not loa2"),
        ("sparse+binary:loa2", "0: sparse must be around binary weights with exact adders, not loa2"),
    ],
)
def test_wrong_codes(tmp_path, monkeypatch, code, message):
    monkeypatch.chdir(tmp_path)
    model = "from torch import nn\ndef make():\n    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.ReLU(), "
    (tmp_path / "m.py").write_text(model + "nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Tanh())\n")
    result = CliRunner().invoke(app, ["build", "m.py:make", "--input-shape", "4,1,1", "-o", "b", "--code", code])
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("organza: ")]
    assert line.startswith(f"organza: error: {message}"), line
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"m.py"}  # Python keeps the compiled model there
