"""Every coder on a whole generator: trained, saved, loaded, quantised; the Program has its integers and makes its images."""

import numpy as np
import pytest
import torch
from torch import nn

from organza.codes import Sparse
from organza.compress.chain import Chain
from organza.compress.chain_file import load_chain, save_chain
from organza.compress.coders import CODERS
from organza.compress.finetune import FinetuneConfig, Networks, finetune
from organza.program_file import load_program, save_program
from organza.quantize import quantize
from tests.organza.compress.coders.cases import CASES
from tests.organza.compress.test_chain import randomised

Z = torch.randn(96, 6, 1, 1, generator=torch.Generator().manual_seed(7))
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 2, 8, 8), dtype=np.uint8)


def teacher() -> Chain:
    torch.manual_seed(1)
    last = nn.ConvTranspose2d(8, 2, 4, 2, 1)
    module = nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3, 1, 1, groups=2), nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2), last, nn.Tanh(),
    )  # fmt: skip
    with torch.no_grad():
        last.weight *= 0.5
    return Chain.of(randomised(module, 1), Z).eval()


def train(chain: Chain, steps: int = 3) -> None:
    torch.manual_seed(2)
    judge = nn.Sequential(nn.Conv2d(2, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 4), nn.Flatten(0))
    critics = [Chain.of(judge, torch.randn(2, 2, 8, 8)) for _ in range(2)]
    config = FinetuneConfig(steps=steps, batch=16, losses={"pixel": 10.0, "adversarial": 0.01}, refit=2)
    finetune(Networks(chain, critics[0], teacher(), critics[1]), IMAGES, config)


def check(chain: Chain, path) -> None:
    """Saved, loaded, quantised: the same integers, and images that differ from the chain's by what 8-bit activations cost."""
    save_chain(path / "c.safetensors", chain)
    again, _ = load_chain(path / "c.safetensors")
    with torch.no_grad():
        wanted = chain(Z)
        assert torch.equal(again(Z), wanted)
    program = quantize(again.float_layers(), Z.double().numpy())
    for node, layer in zip(program.nodes, chain.list, strict=True):
        coded = layer.coder.coded(layer.masked_weight(), layer.mask)
        assert np.array_equal(node.code.integers(), coded.code.integers())
        made = layer.effective_weight().detach().double().numpy()
        assert ((made == 0) == (node.code.integers() == 0)).all()
        if layer.mask is not None:
            assert not made[~layer.mask.numpy()].any()
    save_program(program, path / "p.safetensors")
    program = load_program(path / "p.safetensors")
    images = program.dequantize(program.run(program.quantize(Z.numpy())))
    assert 10 * np.log10(4 / ((images - wanted.numpy()) ** 2).mean()) > 28


@pytest.mark.parametrize("kind, options", CASES, ids=[f"{kind}-{k}" for k, (kind, _) in enumerate(CASES)])
def test_a_trained_generator_reaches_the_program(kind, options, tmp_path):
    chain = teacher()
    for number, layer in enumerate(chain.list):
        if number == 1 and CODERS[kind].prunes:
            layer.mask = torch.rand(layer.shape, generator=torch.Generator().manual_seed(3)) < 0.6
        layer.code_with(CODERS[kind](layer.shape, layer.groups, **options))
    chain.refit()
    before = [layer.coder.coded(layer.masked_weight(), layer.mask) for layer in chain.list]
    train(chain)
    check(chain, tmp_path)
    after = [layer.coder.coded(layer.masked_weight(), layer.mask) for layer in chain.list]
    assert any(not np.array_equal(a.scales, b.scales) or not np.array_equal(a.code.integers(), b.code.integers())
               for a, b in zip(before, after, strict=True))  # fmt: skip


def test_codes_mix_and_are_exported_sparse(tmp_path):
    chain = teacher()
    for layer, (kind, options) in zip(
        chain.list, [("hashed", {"factor": 2}), ("kmeans", {"centroids": 9}), ("em", {"bits": 6})], strict=True
    ):
        if kind == "kmeans":
            layer.mask = torch.rand(layer.shape, generator=torch.Generator().manual_seed(3)) < 0.4
        layer.code_with(CODERS[kind](layer.shape, layer.groups, **options))
    train(chain)
    check(chain, tmp_path)
    program = quantize(chain.float_layers(), Z.double().numpy())
    assert [node.code.kind for node in program.nodes] == ["hashed", "sparse", "affine"]
    code = program.nodes[1].code
    assert isinstance(code, Sparse) and (code.mask == (code.integers() != 0)).all()
    assert len(code.inner.centroids) == 8 and code.inner.field_bits == 3  # no centroid for zeros that are not stored


@pytest.mark.parametrize("kind, options", [("uniform", {"bits": 4}), ("em", {"bits": 3}), ("qmgan", {"bits": 1}), ("ternary", {})])
def test_a_network_shares_its_levels_while_it_is_trained(kind, options):
    chain = teacher()
    for layer in chain.list:
        layer.code_with(CODERS[kind](layer.shape, layer.groups, granularity="network", **options))
    for _ in range(2):
        chain.refit()
        scales = {float(scale) for layer in chain.list for scale in layer.coder.coded(layer.masked_weight(), layer.mask).scales}
        assert len(scales) == 1
        train(chain)
