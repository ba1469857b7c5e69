"""ApGAN's choice of layers, signs that train and reach the chip, and the entropy of a discriminator's signs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from organza.codes import Binary
from organza.compress.activations import ActivationGrid
from organza.compress.chain import Chain
from organza.compress.coders.binary import BinaryCoder
from organza.compress.finetune import FinetuneConfig, finetune
from organza.compress.signs import critic_entropy, make_signs, redundant_layers, representation_entropy
from organza.formats import Sign
from organza.quantize import quantize
from tests.organza.compress.test_chain import randomised
from tests.organza.compress.test_finetune import IMAGES, networks


def test_the_redundant_layers_of_dcgan():
    """Redundancies of DCGAN-64: projection 99, then 496, 192, -128, -960."""
    widths = (512, 256, 128, 64)
    parts = [nn.ConvTranspose2d(100, 512, 4)]
    parts += [nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(widths, (*widths[1:], 3), strict=True)]
    chain = Chain.of(nn.Sequential(*parts), torch.randn(2, 100, 1, 1))
    chosen = redundant_layers(chain)
    assert [layer in chosen for layer in chain.list] == [True, True, True, False, False]


def test_signs_after_relu_train_and_are_those_of_the_program():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.ConvTranspose2d(6, 16, 4), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.ConvTranspose2d(12, 2, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    z = torch.randn(128, 6, 1, 1)
    chain = Chain.of(randomised(module), z).train()
    first, middle, _ = chain.list
    middle.code_with(BinaryCoder(middle.shape, 1))
    assert middle.coder is not None
    make_signs(first, middle.coder.grid(1, True))
    target = chain(z).detach().roll(1, 0)
    optimiser = torch.optim.Adam([p for p in chain.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(40):
        loss = (chain(z) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        assert first.weight.grad.abs().sum() > 0 and middle.weight.grad.abs().sum() > 0
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    chain.eval()
    program = quantize(chain.float_layers(), z.double().numpy())
    assert isinstance(program.nodes[1].input, Sign) and isinstance(program.nodes[1].code, Binary)
    assert "xnor" in program.nodes[1].code.lanes_for(program.nodes[1].input)
    with torch.no_grad():
        values = chain.all(z)
    signs = program.run_layers(program.quantize(z.numpy()))
    wanted = torch.where(values[0] < 0, -1, 1).numpy()
    assert set(np.unique(signs[0])) == {-1, 1} and 0.2 < (wanted > 0).mean() < 0.8
    assert (signs[0] == wanted).mean() > 0.98
    assert ((program.dequantize(signs[2]) - values[2].numpy()) ** 2).mean() < 0.02


def test_signs_take_the_place_of_any_activation():
    for activation in (nn.ReLU(), nn.Sigmoid(), nn.LeakyReLU(0.2), nn.Identity()):
        chain = Chain.of(nn.Sequential(nn.Conv2d(3, 4, 1), activation, nn.Conv2d(4, 2, 1)), torch.randn(2, 3, 5, 5)).train()
        make_signs(chain.list[0], ActivationGrid(1, True))
        made = chain.list[0](torch.randn(2, 3, 5, 5))
        assert len(made.unique()) == 2 and (made < 0).any()


@given(st.integers(0, 500), st.integers(2, 9), st.integers(1, 30))
def test_entropy_by_its_formula(seed, samples, units):
    h = torch.randn(samples, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a = h / (h.abs() + 0.001 * h.abs().mean())
    marginal = sum(a[:, k].mean() ** 2 for k in range(units)) / units
    pairs = [
        max(0.0, float((a[i] * a[j]).sum().abs()) / units - 3 / units**0.5) for i in range(samples) for j in range(samples) if i != j
    ]
    assert float(representation_entropy(h)) == pytest.approx(float(marginal) + np.mean(pairs), abs=1e-9)


def test_entropy_is_small_for_coins_and_large_for_copies():
    rng = torch.Generator().manual_seed(0)
    coins = torch.randn(64, 400, generator=rng)
    assert representation_entropy(coins) < 0.03
    assert representation_entropy(coins[:1].expand(64, -1)) > 1.8
    assert representation_entropy(torch.zeros(4, 3)) == 0


def test_the_gradient_of_entropy_is_numerical():
    """ε counts as a number."""
    h = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    representation_entropy(h).backward()
    epsilon = 0.001 * h.detach().abs().mean()

    def value(x):
        a = x / (x.abs() + epsilon)
        likeness = (a @ a.T).abs() / 7 - 3 / 7**0.5
        return a.mean(0).square().mean() + (likeness.clamp_min(0).sum() - likeness.clamp_min(0).trace()) / 20

    for place in ((0, 0), (2, 3), (4, 6)):
        step = torch.zeros(5, 7, dtype=torch.float64)
        step[place] = 1e-6
        slope = (value(h.detach() + step) - value(h.detach() - step)) / 2e-6
        assert h.grad is not None and float(h.grad[place]) == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


def test_a_discriminator_is_trained_for_entropy():
    nets = networks()
    images = torch.from_numpy(IMAGES).float() / 127.5 - 1

    def entropy():
        with torch.no_grad():
            return float(critic_entropy(nets.critic.eval(), images))

    before = entropy()
    finetune(nets, IMAGES, FinetuneConfig(steps=80, batch=16, critic_lr=1e-2, entropy=20.0))
    with_it = entropy()
    nets = networks()
    finetune(nets, IMAGES, FinetuneConfig(steps=80, batch=16, critic_lr=1e-2))
    assert with_it < 0.9 * before and with_it < 0.9 * entropy()
    with pytest.raises(ValueError, match="^entropy must be at least 0"):
        FinetuneConfig(entropy=-1.0)
