"""Stage `quantize`: which layers get which code, and what reads what."""

import numpy as np
import pytest
import torch

from organza.compress.export import to_program
from organza.compress.stages.quantize import QuantizeStage
from organza.errors import UserError
from organza.formats import Fixed
from tests.organza.compress.nets import context, state


def coders(chain) -> list[str | None]:
    return [None if layer.coder is None else layer.coder.kind for layer in chain.list]


def test_all_layers_or_some_or_each_its_own():
    for settings, wanted in (
        ({"code": "uniform", "bits": 3}, ["uniform", "uniform"]),
        ({"layers": ["layer1"]}, [None, "uniform"]),
        ({"layers": {"layer0": {"code": "none"}}}, [None, "uniform"]),
        ({"layers": {"layer1": {"code": "binary"}}}, ["uniform", "binary"]),
    ):
        nets = state()
        notes = QuantizeStage(**settings).apply(nets, context())
        assert coders(nets.generator) == wanted and coders(nets.critic) == [None] * 3
        assert set(notes["generator"]) == {layer.name for layer in nets.generator.list if layer.coder is not None}


def test_notes_say_error_and_bits():
    nets = state()
    layer = nets.generator.list[0]
    before = layer.effective_weight().detach().clone()
    note = QuantizeStage(code="uniform", bits=3).apply(nets, context())["generator"][layer.name]
    error = (layer.effective_weight().detach() - before).square().sum() / before.square().sum()
    assert note["relative_error"] == pytest.approx(float(error), rel=1e-5)
    assert note["weight_bits"] == 3 * before.numel() and note["bits"] == 3


def test_both_networks_may_be_coded():
    nets = state()
    notes = QuantizeStage(code="ternary", module="both").apply(nets, context())
    assert set(notes) == {"generator", "discriminator"} and coders(nets.critic) == ["ternary"] * 3
    nets.critic = None
    with pytest.raises(UserError, match="^quantize: module 'both' needs a discriminator"):
        QuantizeStage(code="ternary", module="both").apply(nets, context())


def test_activations_are_what_the_chosen_layers_read():
    nets = state()
    QuantizeStage(weights=False, activations=4).apply(nets, context())
    first, last = nets.generator.list
    assert first.grid is not None and last.grid is None and first.coder is None
    made = first.grid.format
    with torch.no_grad():
        seen = nets.generator.all(context().latents(400))[0]
    assert isinstance(made, Fixed) and (made.bits, made.signed) == (4, False)
    assert 0.5 < made.scale * made.high / float(seen.max()) < 1.5  # measured by the calibration
    assert to_program(nets.generator, context().latents(32)).nodes[1].input == made


def test_a_code_after_training_is_in_the_program():
    nets = state()
    QuantizeStage(code="uniform", bits=4, when="after").apply(nets, context())
    program = to_program(nets.generator, context().latents(64))
    assert [node.code.kind for node in program.nodes] == ["linear", "linear"]
    assert all(np.abs(node.code.integers()).max() == 7 for node in program.nodes)


def test_a_layer_has_one_code_and_unknown_layers_are_named():
    nets = state()
    QuantizeStage(layers=["layer0"]).apply(nets, context())
    with pytest.raises(UserError, match="^quantize: .* has the code uniform already, and a layer has one"):
        QuantizeStage(code="binary").apply(nets, context())
    with pytest.raises(UserError, match="^quantize: unknown layer 'layer7'; the network has layer0 .*, layer1"):
        QuantizeStage(layers=["layer7"]).apply(nets, context())
    with pytest.raises(UserError, match="^quantize: unknown layer 'x'"):
        QuantizeStage(layers={"x": {"bits": 3}}).apply(nets, context())


def test_redundant_layers_and_the_rest():
    nets = state()
    QuantizeStage(code="binary", layers="redundant").apply(nets, context())
    assert coders(nets.generator) == ["binary", None]  # 6 channels of 1 place, 8 of 16
    QuantizeStage(code="em", bits=2, layers="rest").apply(nets, context())
    assert coders(nets.generator) == ["binary", "em"]
    assert QuantizeStage(code="em", bits=2, layers="rest").apply(nets, context()) == {"generator": {}}


def test_statistics_move_by_what_the_code_changes_and_no_more():
    nets, fine, coarse = state(), state(), state()
    QuantizeStage(code="float32", when="after").apply(fine, context())
    QuantizeStage(code="uniform", bits=2, when="after").apply(coarse, context())
    plain, same, moved = (chain.generator.norms[0] for chain in (nets, fine, coarse))
    torch.testing.assert_close(same.running_mean, plain.running_mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(same.running_var, plain.running_var, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(moved.running_var, plain.running_var, rtol=1e-2)
