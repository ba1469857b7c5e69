"""Flexpoint tensors in training: mantissas of the format, exponents of Autoflex, gradients of their own."""

import numpy as np
import pytest
import torch
from torch import nn

from organza.autoflex import Autoflex
from organza.compress.chain import Chain
from organza.compress.chain_file import load_chain, save_chain
from organza.compress.coders import CODERS
from organza.compress.finetune import FinetuneConfig, finetune
from organza.compress.flex import BACKWARD, FlexGrid, FlexTensor
from organza.formats import Fixed, Flex, Managed
from organza.quantize import quantize
from tests.organza.compress.test_chain import MODULES, randomised
from tests.organza.compress.test_finetune import IMAGES, networks


def test_exponents_are_those_of_autoflex_one_value_late():
    rng = torch.Generator().manual_seed(0)
    tensor = FlexTensor().train()
    values = [size * torch.randn(50, generator=rng) for size in (1, 1, 1.1, 0.7, 40, 40, 1e-3, 1e-3, 1e-3)]
    made = [tensor(value) for value in values]
    flex = Autoflex.initialised(lambda e: int(Flex(e).quantize(values[0].numpy()).__abs__().max()))
    for value, result in zip(values, made, strict=True):
        form = Flex(flex.exponent)
        mantissas = form.quantize(value.double().numpy())
        assert np.array_equal(form.dequantize(mantissas), result.double().numpy())
        flex.update(int(np.abs(mantissas).max()))
    assert tensor.overflows == flex.overflows == 2  # the jump from 0.7 to 40


def test_evaluation_changes_nothing():
    tensor = FlexTensor().train()
    tensor(torch.ones(3))
    tensor.eval()
    before = int(tensor.exponent)
    for _ in range(3):
        tensor(torch.full((3,), 1000.0))
    assert int(tensor.exponent) == before


def test_a_tensor_comes_back_with_its_exponent():
    tensor = FlexTensor().train()
    for size in (1, 2, 3):
        tensor(torch.full((3,), float(size)))
    again = FlexTensor()
    again.load_state_dict(tensor.state_dict())
    x = torch.randn(20)
    assert torch.equal(again.eval()(x), tensor.eval()(x))
    again.train()
    for _ in range(20):
        again(torch.full((3,), 1e-4))
    assert int(again.exponent) < int(tensor.exponent)


def test_gradients_are_rounded_with_their_own_exponent_and_end_at_the_range():
    grid = FlexGrid().train()
    v = torch.tensor([1.0, 2.0, -3.0, 0.1], requires_grad=True)
    outer = 1e-3 * torch.tensor([1.0, -0.3, 0.123456789, 1e-7])
    grid(v).backward(outer)
    assert grid.backwards is not None and BACKWARD.low <= int(grid.backwards.exponent) <= BACKWARD.high
    step = 2.0 ** int(grid.backwards.exponent)
    wanted = torch.floor(outer.double() / step + 0.5) * step
    assert torch.equal(v.grad.double(), wanted)
    grid.eval()
    far = torch.tensor([1e4, -1e4, 1.0], requires_grad=True)
    grid(far).sum().backward()
    assert far.grad.tolist() == [0, 0, 1]
    plain = FlexGrid(gradients=False)
    v.grad = None
    plain(v).backward(outer)
    assert torch.equal(v.grad, outer)


@pytest.mark.parametrize("exponents", ["frozen", "managed"])
def test_a_chain_in_flexpoint_trains_like_floats_and_reaches_the_program(exponents, tmp_path):
    """Autoflex loses nothing: the same training in floats ends as near the teacher."""
    ends = []
    for flex in (False, True):
        nets = networks()
        before = None
        for layer in nets.student.list:
            if flex:
                coder = CODERS["flexpoint"](layer.shape, 1, exponents=exponents)
                layer.code_with(coder)
                if before is not None:
                    before.grid = coder.grid(16, signed=True)
                before = layer
        finetune(nets, IMAGES, FinetuneConfig(steps=60, batch=16, losses={"pixel": 10.0}, lr=5e-3))
        z = torch.randn(200, 6, 1, 1, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            ends.append(float((nets.student(z) - nets.teacher.eval()(z)).square().mean()))
    assert ends[1] == pytest.approx(ends[0], rel=0.1)
    save_chain(tmp_path / "c.safetensors", nets.student)
    chain, _ = load_chain(tmp_path / "c.safetensors")
    program = quantize(chain.float_layers(), z.double().numpy())
    joint = program.nodes[1].input
    assert type(joint) is (Flex if exponents == "frozen" else Managed)
    if exponents == "frozen":
        assert joint == chain.list[0].grid.format
    for node, layer in zip(program.nodes, chain.list, strict=True):
        assert node.code.kind == "flexpoint"
        assert np.array_equal(node.code.integers(), layer.coder.code(layer.weight, None)[0].integers())
    made = program.dequantize(program.run(program.quantize(z.numpy())))
    with torch.no_grad():
        assert 10 * np.log10(4 / ((made - chain(z).numpy()) ** 2).mean()) > 45  # what is left is the picture's 8 bits


def test_few_bits_of_inputs_are_integers():
    coder = CODERS["flexpoint"]((1, 1, 1, 1), 1)
    assert isinstance(coder.grid(8, False).format, Fixed) and isinstance(coder.grid(16, False), FlexGrid)
    with pytest.raises(ValueError, match="^flexpoint exponents must be one of frozen, managed, not 'free'$"):
        CODERS["flexpoint"]((1, 1, 1, 1), 1, exponents="free")
    with pytest.raises(TypeError, match="^flexpoint gradients must be true or false, not 'yes'$"):
        CODERS["flexpoint"]((1, 1, 1, 1), 1, gradients="yes")


def test_weights_follow_their_exponent_in_training():
    chain = Chain.of(randomised(MODULES["dcgan"]()), torch.randn(2, 6, 1, 1)).train()
    layer = chain.list[0]
    layer.code_with(CODERS["flexpoint"](layer.shape, 1))
    first = int(layer.coder.flex.values.exponent)
    assert isinstance(layer.weight, nn.Parameter)
    with torch.no_grad():
        layer.weight *= 1000
    for _ in range(4):
        chain(torch.randn(2, 6, 1, 1))
    assert int(layer.coder.flex.values.exponent) >= first + 9
    torch.testing.assert_close(layer.effective_weight(), layer.weight, rtol=1e-3, atol=1e-2)
