"""Dead channels leave without a trace where that is exact, and stay where it is not."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from organza.compress.chain import Chain
from organza.compress.pruning.removal import remove_dead, remove_units
from organza.compress.pruning.widths import Structure
from tests.organza.compress.neighbours import inputs, net
from tests.organza.compress.test_chain import randomised


def reading(*last: nn.Module) -> nn.Sequential:
    """A first layer with a positive and a negative bias in dead channels 1 and 3, ReLU, and another layer."""
    torch.manual_seed(0)
    first = nn.ConvTranspose2d(6, 5, 4)
    first.weight.data[:, [1, 3]] = 0
    first.bias.data[:] = torch.tensor([0.3, 0.7, -0.2, -0.5, 0.1])
    return nn.Sequential(first, nn.ReLU(), *last)


# Layers whose every position has every tap, so that a constant stays one, and layers that have a border.
EXACT = {
    "1x1": lambda: [nn.Conv2d(5, 3, 1)],
    "1x1 without bias": lambda: [nn.Conv2d(5, 3, 1, bias=False)],
    "normalised": lambda: [nn.Conv2d(5, 3, 1, bias=False), nn.BatchNorm2d(3)],
    "unpadded": lambda: [nn.Conv2d(5, 3, 3)],
    "strided": lambda: [nn.Conv2d(5, 3, 2, 2)],
    "through upsampling": lambda: [nn.Upsample(scale_factor=2), nn.PReLU(5), nn.Conv2d(5, 3, 1)],
}
BORDERED = {"padded": lambda: [nn.Conv2d(5, 3, 3, padding=1)], "transposed": lambda: [nn.ConvTranspose2d(5, 3, 4, 2, 1)]}


@pytest.mark.parametrize("name", EXACT)
def test_constants_move_on_exactly(name):
    chain = Chain.of(randomised(reading(*EXACT[name]())), inputs(2)).eval()
    x = inputs(4)
    with torch.no_grad():
        wanted = chain(x)
        assert remove_dead(chain) == 2
        torch.testing.assert_close(chain(x), wanted, rtol=1e-5, atol=1e-6)
    assert chain.list[0].co == 3


@pytest.mark.parametrize("name", BORDERED)
def test_constants_with_a_border_stay_and_zeros_go(name):
    chain = Chain.of(randomised(reading(*BORDERED[name]())), inputs(2)).eval()
    x = inputs(4)
    with torch.no_grad():
        wanted = chain(x)
        assert remove_dead(chain) == 1  # the one that ReLU makes 0
        torch.testing.assert_close(chain(x), wanted, rtol=1e-5, atol=1e-6)
    structure = Structure(chain)
    assert not remove_units(structure, structure.widths[0], [1])
    with torch.no_grad():
        assert (chain(x) - wanted).abs().max() > 1e-3


def test_training_computes_the_same_after_a_constant_moved_into_normalisation():
    chain = Chain.of(randomised(reading(*EXACT["normalised"]())), inputs(2))
    other = deepcopy(chain)
    remove_dead(other)
    x = inputs(16)
    torch.testing.assert_close(other.train()(x), chain.train()(x), rtol=1e-4, atol=1e-5)


def test_unread_channels_go_and_one_always_stays():
    chain = net("dcgan")
    chain.list[1].mask = torch.ones(chain.list[1].shape, dtype=torch.bool)
    chain.list[1].mask[[0, 4]] = False
    x = inputs(4)
    with torch.no_grad():
        wanted = chain(x)
        assert remove_dead(chain) == 2
        torch.testing.assert_close(chain(x), wanted, rtol=1e-5, atol=1e-6)
    assert chain.list[1].mask is None  # nothing is left that it would prune
    chain.list[1].mask = torch.zeros(chain.list[1].shape, dtype=torch.bool)
    assert remove_dead(chain) == 5 and chain.list[0].co == 1


def test_groups_lose_as_many_as_the_fewest():
    chain = net("groups")
    mask = torch.ones(chain.list[1].shape, dtype=torch.bool)
    mask[[0, 1, 6]] = False  # two of the first group, one of the second
    chain.list[1].mask = mask
    x = inputs(4)
    with torch.no_grad():
        wanted = chain(x)
        assert remove_dead(chain) == 2
        torch.testing.assert_close(chain(x), wanted, rtol=1e-5, atol=1e-6)
