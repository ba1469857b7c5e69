# amaranth: UnusedElaboratable=no
"""Layers that read signs: every code on them, XNOR lanes, padding, whole pipelines, the shipped generator."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

import organza
from organza.codes import DIRECT, Binary
from organza.epilogue import Epilogue
from organza.formats import Fixed, Sign
from organza.geometry import Axis
from organza.program import Convolve, Program
from organza.program_file import load_program, save_program
from organza.quality import CHECKPOINT, calibration_latents
from organza_sim.api import build, simulate
from organza_sim.planner import plan_program
from organza_sim.verify import verify
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import random_plan
from tests.repeated import some_now
from tests.strategies import random_convolve, random_input


def chain(seed: int, kind: str, layers: int = 3) -> Case:
    """Signs at every joint inside; the layers that read them have the code `kind`."""
    rng = np.random.default_rng([seed, 7])
    nodes: list[Convolve] = []
    for number in range(layers):
        more = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        more["output"] = Sign(0.5) if number < layers - 1 else None
        code = kind if number else "linear"
        nodes.append(random_convolve(rng, name=f"layer{number}", code=code, max_positions=30, max_channels=9, **more))
    program = Program(tuple(nodes))
    return Case(program, random_plan(rng, program), random_input(rng, program, 2))


@pytest.mark.parametrize("kind", DIRECT)
def test_every_code_on_signs(kind):
    chosen = chain(0, kind)
    check_free(chosen)
    check_stalled(chosen, 1)


@pytest.mark.parametrize("seed", some_now(range(8), 3))
def test_binary_on_signs(seed):
    chosen = chain(seed, "binary")
    check_free(chosen)
    check_stalled(chosen, seed)


def test_both_lanes_are_drawn():
    drawn = {engine.arithmetic for seed in range(8) for engine in chain(seed, "binary").plan.engines[1:]}
    assert drawn == {"plain", "xnor"}


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_missing_taps_count_nothing(kernel):
    """Unbalanced phases and padding against PyTorch on ±1."""
    rng = np.random.default_rng(kernel)
    crop = kernel // 2
    axis = Axis(size=5, kernel=kernel, up=2, crop_before=crop, crop_after=crop - 1)
    code = Binary(rng.choice([-1, 1], (7, 4, kernel, kernel)))
    ones = np.ones(4, np.int64)
    node = Convolve(
        name="layer", y=axis, x=axis, groups=1, code=code, input=Sign(1.0), output=Fixed(16, True, 1.0),
        epilogue=Epilogue(0 * ones, ones, ones, 0 * ones, -(1 << 15), (1 << 15) - 1),
    )  # fmt: skip
    point = Axis(size=5, kernel=1)
    before = Convolve(
        name="before", y=point, x=point, groups=7, code=Binary(np.ones((7, 1, 1, 1), int)), input=Fixed(8, True, 1.0),
        output=Sign(1.0), epilogue=Epilogue.sign(np.zeros(7, np.int64)),
    )  # fmt: skip
    program = Program((before, node))
    x = rng.integers(-128, 128, (2, 7, 5, 5))
    signs = torch.from_numpy(np.where(x < 0, -1.0, 1.0))
    wanted = functional.conv_transpose2d(
        signs, torch.from_numpy(code.weights.astype(float)), stride=2, padding=crop, output_padding=1
    ).numpy()
    assert np.array_equal(program.run(x), wanted)
    check_free(Case(program, random_plan(rng, program), x))


def test_formats():
    form = Sign(0.25)
    assert form.quantize(np.array([-1.0, -0.0, 0.0, 3.0])).tolist() == [-1, 1, 1, 1]
    assert form.to_wire(np.array([-1, 1])).tolist() == [1, 0]
    assert form.from_wire(np.array([1, 0])).tolist() == [-1, 1]
    assert form.dequantize(np.array([-1, 1])).tolist() == [-0.25, 0.25]
    with pytest.raises(ValueError, match="^Sign scale must be positive and finite, not 0$"):
        Sign(0)
    with pytest.raises(TypeError, match="^Sign scale must be a number, not True$"):
        Sign(True)


def test_programs_keep_signs_inside(tmp_path):
    program = chain(1, "binary").program
    save_program(program, tmp_path / "p.safetensors")
    assert load_program(tmp_path / "p.safetensors").nodes[1].input == Sign(0.5)
    with pytest.raises(ValueError, match="^Program input must not be signs; only tensors between nodes can be$"):
        Program(program.nodes[1:])
    node = program.nodes[0]
    wrong = dataclasses.replace(node.epilogue, table=None)
    with pytest.raises(ValueError, match=r"range -1…0 must fit the output format -1…1 \(without 0\)$"):
        dataclasses.replace(node, epilogue=wrong)


@pytest.mark.rtl
@pytest.mark.full
def test_the_shipped_generator():
    """Two W1A1 layers through Verilator, every joint compared."""
    program = organza.lower(CHECKPOINT, calibration_latents(64), code="layer1=binary:1,layer2=binary:1")
    assert [type(node.input) for node in program.nodes] == [Fixed, Sign, Sign, Fixed]
    plan = plan_program(program, 64)
    assert [engine.arithmetic for engine in plan.engines] == ["plain", "xnor", "xnor", "plain"]
    chip = build(program, plan=plan)
    x = program.quantize(np.random.default_rng(0).normal(size=(2, *program.input_shape)))
    assert np.array_equal(simulate(chip, x).outputs, program.run(x))
    assert verify(chip, x).passed
