"""A chain comes back from its file as it was, and other files are refused."""

import pytest
import torch
from safetensors.torch import save_file

from organza.checkpoint import save_checkpoint
from organza.compress.activations import ActivationGrid
from organza.compress.chain import Chain
from organza.compress.chain_file import load_chain, save_chain
from organza.compress.coders.uniform import UniformCoder
from tests.organza.compress.test_chain import MODULES, randomised


@pytest.mark.parametrize("name", MODULES)
def test_chains_come_back(tmp_path, name):
    x = torch.randn(8, 6, 1, 1)
    chain = Chain.of(randomised(MODULES[name]()), x)
    for number, layer in enumerate(chain.list):
        if number % 2 == 0:
            layer.mask = torch.rand(layer.shape) < 0.7
        layer.code_with(UniformCoder(layer.shape, layer.groups, bits=4, granularity="tensor"))
    chain.list[0].grid = ActivationGrid(8, True)
    chain.train()
    chain(x)
    chain.eval()
    save_chain(tmp_path / "c.safetensors", chain, {"note": [1, 2]})
    again, metadata = load_chain(tmp_path / "c.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), chain(x))
    assert metadata["note"] == [1, 2]
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in chain.parameters()]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="must hold a compressed generator, found None$"):
        load_chain(path)
    save_checkpoint(path, {"a": torch.zeros(2)}, {"kind": "chain", "layers": [{"name": "a"}]})
    with pytest.raises(ValueError, match="metadata 'layers': 'shape'$"):
        load_chain(path)
    chain = Chain.of(randomised(MODULES["dcgan"]()), torch.randn(2, 6, 1, 1))
    save_chain(path, chain)
    good, metadata = load_chain(path)
    for change, message in (
        ({"coder": {"kind": "magic"}}, "coder must be one of .*uniform.*, not 'magic'$"),
        ({"shape": [0, 8, 4, 4]}, "weights must have four positive sizes"),
        ({"shape": [1 << 20, 1 << 20, 4, 4]}, "weights must have four positive sizes"),
    ):
        records = [{**metadata["layers"][0], **change}, *metadata["layers"][1:]]
        save_checkpoint(path, good.state_dict(), {"kind": "chain", "layers": records})
        with pytest.raises(ValueError, match=message):
            load_chain(path)
