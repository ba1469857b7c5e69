"""A generator whose layers were trained in different codes, one of them on signs, runs on the RTL to the last bit and cycle."""

import numpy as np
import pytest
import torch
from torch import nn

from organza.compress.chain import Chain
from organza.compress.coders import CODERS
from organza.compress.finetune import FinetuneConfig, Networks, finetune
from organza.compress.signs import make_signs
from organza.formats import Sign
from organza.quantize import quantize
from organza_sim.api import build, simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from tests.organza.compress.test_chain import randomised

pytestmark = pytest.mark.rtl
CODES = [
    ("hashed", {"factor": 3}), ("binary", {}), ("kmeans", {"centroids": 9}), ("ternary", {"per_byte": 5, "scale": "learned"}),
    ("multihash", {"factor": 2}), ("em", {"bits": 3}),
]  # fmt: skip
KINDS = ["hashed", "binary", "sparse", "ternary", "multihash", "affine"]
Z = torch.randn(64, 6, 1, 1, generator=torch.Generator().manual_seed(7))


def trained() -> Chain:
    torch.manual_seed(0)
    widths = (6, 8, 8, 6, 8, 5)
    parts: list[nn.Module] = []
    for number, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        parts += [nn.ConvTranspose2d(a, b, *((3, 1, 0) if number == 0 else (3, 1, 1))), nn.BatchNorm2d(b), nn.ReLU()]
    teacher = Chain.of(randomised(nn.Sequential(*parts, nn.ConvTranspose2d(5, 1, 4, 2, 1), nn.Tanh())), Z).eval()
    chain = Chain.of(randomised(nn.Sequential(*parts, nn.ConvTranspose2d(5, 1, 4, 2, 1), nn.Tanh())), Z)
    for before, layer, (kind, options) in zip([None, *chain.list], chain.list, CODES, strict=False):
        if kind == "kmeans":
            layer.mask = torch.rand(layer.shape) < 0.4
        coder = CODERS[kind](layer.shape, layer.groups, **options)
        layer.code_with(coder)
        if before is not None:
            grid = coder.grid(1 if kind == "binary" else 8, signed=not before.unsigned)
            if kind == "binary":
                make_signs(before, grid)
            else:
                before.grid = grid
    images = np.random.default_rng(0).integers(0, 256, (32, 1, 6, 6), dtype=np.uint8)
    config = FinetuneConfig(steps=4, batch=16, losses={"pixel": 10.0}, lr=2e-3, calibration=4)
    finetune(Networks(chain, None, teacher, None), images, config)
    return chain


def test_six_trained_codes_in_one_pipeline():
    chain = trained()
    program = quantize(chain.float_layers(), Z.double().numpy())
    assert [node.code.kind for node in program.nodes] == KINDS
    assert isinstance(program.nodes[1].input, Sign)
    for node, layer in zip(program.nodes, chain.list, strict=True):
        assert layer.coder is not None
        coded = layer.coder.coded(layer.masked_weight(), layer.mask)
        assert np.array_equal(node.code.integers(), coded.code.integers())
    plan = plan_program(program, 48)
    chip = build(program, plan=plan)
    x = program.quantize(np.random.default_rng(1).normal(size=(3, 6, 1, 1)))
    run = simulate(chip, x)
    assert np.array_equal(run.outputs, program.run(x))
    model = simulate_cycles(program, plan, 3)
    assert run.image_ends.tolist() == [end - model.first for end in model.sent]
