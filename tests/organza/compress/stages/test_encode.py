"""Stage `encode`: bits change, the Program's integers and images do not."""

import numpy as np
import pytest
import torch

from organza.compress.export import to_program
from organza.compress.stages.encode import EncodeStage
from organza.compress.stages.quantize import QuantizeStage
from organza.errors import UserError
from tests.organza.compress.nets import context, state


@pytest.mark.parametrize("form", ["bitmap", "relative", "huffman", "rle", "csr", "csc", "smallest"])
def test_only_bits_change(form):
    nets = state()
    for layer in nets.generator.list:
        layer.mask = torch.rand(layer.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    QuantizeStage(code="uniform", bits=4, when="after").apply(nets, context())
    latents = context().latents(16)
    before = to_program(nets.generator, latents)
    notes = EncodeStage(lossless=form).apply(nets, context())
    after = to_program(nets.generator, latents)
    x = before.quantize(latents.double().numpy())
    assert np.array_equal(before.run(x), after.run(x))
    for layer, node in zip(nets.generator.list, after.nodes, strict=True):
        note = notes[layer.name]
        assert note["form"] == (form if form in ("csr", "csc") else node.code.kind)
        if form not in ("csr", "csc"):
            assert note["bits"] == node.code.stored_bits
        assert note["bits_before"] == before.nodes[0].code.stored_bits or layer is not nets.generator.list[0]


def test_layers_that_nobody_coded_get_eight_bits_and_others_stay():
    nets = state()
    notes = EncodeStage(lossless="huffman", layers=["layer0"]).apply(nets, context())
    assert [note["bits_before"] for note in notes.values()] == [None]
    assert [node.code.kind for node in to_program(nets.generator, context().latents(16)).nodes] == ["huffman", "linear"]


def test_forms_that_do_not_suit_a_code_name_the_layer():
    nets = state()
    QuantizeStage(code="em", bits=2, when="after").apply(nets, context())
    name = nets.generator.list[0].name
    with pytest.raises(UserError, match=f"^{name}: relative must be around one of .*, not 'affine'"):
        EncodeStage(lossless="relative").apply(nets, context())
