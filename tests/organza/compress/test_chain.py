"""Chains compute what the module computed, train, and reach the Program with the codes that they were trained with."""

import numpy as np
import pytest
import torch
from torch import nn

from organza.compress.activations import ActivationGrid
from organza.compress.chain import Chain, ChainLayer, convolve
from organza.compress.coders.uniform import UniformCoder
from organza.float_layers import FloatLayer, float_run, linear
from organza.formats import Sign
from organza.geometry import Axis
from organza.quantize import quantize


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` with random normalisation, some of it negative, in evaluation mode."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return module.eval()


MODULES = {
    "dcgan": lambda: nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()
    ),
    "upsample": lambda: nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 3, 3, padding=1), nn.BatchNorm2d(3),
    ),
    "shuffle": lambda: nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, affine=False),
        nn.PixelShuffle(2), nn.Sigmoid(),
    ),
    "discriminator": lambda: nn.Sequential(
        nn.Conv2d(6, 4, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(4, 4, 5, 2, 2, 1, groups=2), nn.BatchNorm2d(4), nn.PReLU(4),
        nn.Conv2d(4, 2, 3, 2, 1), nn.Flatten(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_a_chain_computes_what_its_module_does(name):
    module = randomised(MODULES[name]())
    x = torch.randn(5, 6, 1, 1)
    chain = Chain.of(module, x).eval()
    with torch.no_grad():
        wanted = module(x)
        torch.testing.assert_close(chain(x).reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(float_run(chain.float_layers(), x).reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


def test_training_uses_the_batch_and_reaches_every_parameter():
    module = randomised(MODULES["dcgan"]()).train()
    x = torch.randn(16, 6, 1, 1)
    chain = Chain.of(module, x).train()
    torch.testing.assert_close(chain(x), module(x), rtol=1e-4, atol=1e-5)
    chain(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in chain.parameters() if p.requires_grad)


AXES = [
    Axis(size=5, kernel=4, up=2, crop_before=1, crop_after=1),
    Axis(size=5, kernel=3, up=2, crop_before=1, crop_after=0),
    Axis(size=5, kernel=3, crop_before=1, crop_after=1),
    Axis(size=6, kernel=3, down=2, crop_before=1, crop_after=1),
    Axis(size=4, kernel=5, up=3, down=2, crop_before=-1, crop_after=2),
    Axis(size=4, kernel=2, up=3, crop_before=0, crop_after=-2),
]


@pytest.mark.parametrize("y", AXES)
@pytest.mark.parametrize("x", AXES)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolve_is_the_float_layer(y, x, groups):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 6 // groups, y.kernel, x.kernel))
    layer = FloatLayer(name="a", weights=weights, bias=np.zeros(6), y=y, x=x, groups=groups)
    value = torch.from_numpy(rng.normal(size=(2, 4, y.size, x.size)))
    torch.testing.assert_close(convolve(value, torch.from_numpy(weights), y, x, groups), linear(layer, value))


def test_the_program_has_the_trained_integers_and_stays_close():
    module = randomised(MODULES["dcgan"]())
    x = torch.randn(64, 6, 1, 1)
    chain = Chain.of(module, x).eval()
    for layer in chain.list:
        layer.code_with(UniformCoder(layer.shape, layer.groups, bits=5))
    program = quantize(chain.float_layers(), x.double().numpy())
    for node, layer in zip(program.nodes, chain.list, strict=True):
        assert isinstance(layer.coder, UniformCoder) and layer.weight is not None
        integers, _ = layer.coder.integers(layer.weight, None)
        assert np.array_equal(node.code.integers(), integers.long().numpy())
    made = program.dequantize(program.run(program.quantize(x.numpy())))
    with torch.no_grad():
        wanted = chain(x).numpy()
    assert ((made - wanted) ** 2).mean() < 2e-4  # what activations of 8 bits cost


def test_signs_that_were_trained_are_the_signs_of_the_program():
    torch.manual_seed(0)
    module = nn.Sequential(nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 2, 4, 2, 1), nn.Tanh())
    x = torch.randn(64, 6, 1, 1)
    chain = Chain.of(randomised(module), x).train()
    chain.list[0].code_with(UniformCoder(chain.list[0].shape, 1))
    chain.list[0].grid = ActivationGrid(1, True)
    chain(x)
    chain.eval()
    program = quantize(chain.float_layers(), x.double().numpy())
    signs = program.run_layers(program.quantize(x.numpy()))[0]
    with torch.no_grad():
        wanted = torch.where(chain.all(x)[0] < 0, -1, 1).numpy()
    assert isinstance(program.nodes[0].output, Sign)
    assert set(np.unique(signs)) == {-1, 1}
    assert (signs == wanted).mean() > 0.98  # sums next to the threshold turn with the rounding of the input


def test_codes_can_be_taken_off_again_and_masks_stay():
    chain = Chain.of(randomised(MODULES["dcgan"]()), torch.randn(2, 6, 1, 1)).eval()
    layer: ChainLayer = chain.list[0]
    layer.mask = torch.rand(layer.shape) < 0.5
    layer.code_with(UniformCoder(layer.shape, 1, bits=3))
    coded = layer.effective_weight().detach().clone()
    assert (coded[~layer.mask] == 0).all() and len(coded.unique()) > 2
    layer.code_with(None)
    torch.testing.assert_close(layer.effective_weight(), coded)


def test_calibration_measures_plain_means():
    module = randomised(MODULES["dcgan"]())
    chain = Chain.of(module, torch.randn(2, 6, 1, 1)).eval()
    batches = [torch.randn(32, 6, 1, 1) for _ in range(3)]
    chain.calibrate(batches)
    norm = chain.list[0].norm
    assert norm is not None and norm.running_mean is not None and norm.momentum == 0.1 and not chain.training
    first = chain.list[0]
    with torch.no_grad():
        sums = [convolve(batch, first.effective_weight(), first.y, first.x, 1) for batch in batches]
        wanted = torch.stack([value.mean((0, 2, 3)) for value in sums]).mean(0)
    torch.testing.assert_close(norm.running_mean, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits, error", [(0, ValueError), (17, ValueError), (True, TypeError), (2.0, TypeError)])
def test_activation_bits_are_checked(bits, error):
    with pytest.raises(error, match="^activation bits must be"):
        ActivationGrid(bits, True)


@pytest.mark.parametrize("bits, signed", [(1, True), (4, False), (8, True)])
def test_grids_round_as_their_format_and_pass_gradients_where_nothing_clips(bits, signed):
    grid = ActivationGrid(bits, signed)
    v = torch.linspace(-2 if signed else 0, 2, 1001, requires_grad=True)
    grid(v)
    grid.eval()
    wider = (3 * v).detach().requires_grad_()
    made = grid(wider)
    form = grid.format
    torch.testing.assert_close(made.detach().double().numpy(), form.dequantize(form.quantize(wider.detach().numpy())),
                               rtol=1e-6, atol=1e-7)  # fmt: skip
    made.sum().backward()
    assert wider.grad is not None and set(wider.grad.unique().tolist()) == {0.0, 1.0}


def test_channels_that_training_switched_off_stay_off():
    chain = Chain.of(randomised(MODULES["dcgan"]()), torch.randn(2, 6, 1, 1)).eval()
    first = chain.list[0]
    assert first.norm is not None and first.norm.bias is not None
    with torch.no_grad():
        first.norm.weight[:3] = 0
        first.norm.bias[:2] = torch.tensor([0.0, 0.7])
    first.code_with(UniformCoder(first.shape, 1))
    program = quantize(chain.float_layers(), torch.randn(64, 6, 1, 1).double().numpy())
    made = program.run_layers(program.quantize(torch.randn(8, 6, 1, 1).numpy()))[0]
    wanted = np.round(0.7 / program.nodes[0].output.scale)
    assert not made[:, 0].any() and np.abs(made[:, 1] - wanted).max() <= 1


def test_channels_without_weights_keep_their_bias():
    """Normalisation of what never moves divides by next to nothing."""
    chain = Chain.of(randomised(MODULES["dcgan"]()), torch.randn(2, 6, 1, 1))
    first = chain.list[0]
    first.mask = torch.ones(first.shape, dtype=torch.bool)
    first.mask[:, :3] = False
    for layer in chain.list:
        layer.code_with(UniformCoder(layer.shape, 1))
    x = torch.randn(64, 6, 1, 1)
    chain.calibrate([x])
    chain.eval()
    assert first.norm is not None and first.norm.bias is not None
    with torch.no_grad():
        first.norm.bias[:3] = torch.tensor([0.1, 0.7, 1.3])
    program = quantize(chain.float_layers(), x.double().numpy())
    made = program.nodes[0].output.dequantize(program.run_layers(program.quantize(x.numpy()))[0])
    assert np.abs(made[:, :3] - np.array([0.1, 0.7, 1.3])[:, None, None]).max() <= program.nodes[0].output.scale
    assert program.nodes[0].accumulator_bits < 30
