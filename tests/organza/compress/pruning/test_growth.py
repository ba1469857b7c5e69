"""Growth keeps the function, in evaluation and in training, until noise is added."""

import pytest
import torch

from organza.compress.pruning.growth import grow
from organza.compress.pruning.widths import widths
from organza.errors import UserError
from tests.organza.compress.neighbours import NETS, discriminator, inputs, net


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("factor", [2, 3])
def test_the_function_stays(name, factor):
    chain = net(name)
    x = inputs(16)
    before = [width.units for width in widths(chain)]
    with torch.no_grad():
        wanted = chain(x)
        trained = chain.train()(x)
    chain = net(name)
    grow(chain, factor)
    assert [width.units for width in widths(chain)] == [factor * units for units in before]
    with torch.no_grad():
        assert (chain(x) - wanted).abs().max() < 1e-5
        assert (chain.train()(x) - trained).abs().max() < 1e-5


def test_copies_of_groups_stay_in_their_groups():
    chain = net("groups")
    grow(chain, 2)
    assert [(layer.shape, layer.groups) for layer in chain.list] == [
        ((6, 16, 3, 3), 1), ((16, 12, 3, 3), 2), ((24, 4, 3, 3), 3), ((12, 2, 1, 1), 1),
    ]  # fmt: skip


def test_discriminators_grow_too():
    chain = discriminator()
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        wanted = chain(images)
        grow(chain, 2)
        assert (chain(images) - wanted).abs().max() < 1e-5
    assert [layer.co for layer in chain.list] == [12, 16, 1]


def test_noise_tells_copies_apart_and_follows_the_seed():
    made = []
    for noise, seed in ((0.0, 0), (0.02, 0), (0.02, 0), (0.02, 1)):
        chain = net("dcgan")
        grow(chain, 2, noise=noise, seed=seed)
        made.append(chain.list[0].weight.detach())
    assert torch.equal(made[0][:, 0::2], made[0][:, 1::2]) and not torch.equal(made[1][:, 0::2], made[1][:, 1::2])
    assert torch.equal(made[1], made[2]) and not torch.equal(made[1], made[3])
    size = (made[1] - made[0]).square().mean().sqrt() / made[0].square().mean().sqrt()
    assert 0.017 < size < 0.023


def test_some_layers_only():
    chain = net("dcgan")
    grow(chain, 4, layers=("3",))
    assert [layer.co for layer in chain.list] == [8, 24, 3]


def test_wrong_arguments():
    chain = net("dcgan")
    with pytest.raises(UserError, match="^grow layers names '6'; the channels of 0, 3 can grow$"):
        grow(chain, 2, layers=("6",))
    with pytest.raises(ValueError, match=r"^grow factor must be in \[2, 64\], got 1$"):
        grow(chain, 1)
    with pytest.raises(ValueError, match=r"^grow noise must be in \[0, 1\), not 1.0$"):
        grow(chain, 2, noise=1.0)
    assert chain.list[0].co == 8
