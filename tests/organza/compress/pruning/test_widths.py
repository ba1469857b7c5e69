"""Channels that are removed: the narrower network computes what the one with closed channels did."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch_pruning as tp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from organza.compress.chain import Chain
from organza.compress.coders.uniform import UniformCoder
from organza.compress.pruning.channels import close
from organza.compress.pruning.slicing import take_inputs, take_outputs
from organza.compress.pruning.widths import Structure, widths
from organza.errors import UserError
from tests.organza.compress.neighbours import NETS, inputs, net
from tests.organza.compress.test_chain import randomised

# (units, channels of a unit where they are made, where they are read, channel groups) of every width.
WIDTHS = {
    "dcgan": [(8, 1, 1, 1), (6, 1, 1, 1)],
    "depthwise": [(8, 1, 1, 1), (4, 1, 1, 1)],
    "groups": [(8, 1, 1, 2), (12, 1, 1, 6), (6, 1, 1, 3)],
    "shuffle": [(4, 4, 1, 1)],
    "view": [(6, 4, 1, 1), (4, 1, 1, 1)],
}


@pytest.mark.parametrize("name", NETS)
def test_units_are_what_must_go_together(name):
    found = widths(net(name))
    assert [(w.units, len(w.outputs[0]), len(w.inputs[0]), w.blocks) for w in found] == WIDTHS[name]
    for width in found:
        for channels in (width.outputs, width.inputs):
            flat = [channel for unit in channels for channel in unit]
            assert sorted(flat) == list(range(len(flat)))


@pytest.mark.parametrize("name", NETS)
@given(data=st.data())
@settings(max_examples=12)
def test_removed_channels_are_closed_ones(name, data):
    chain = net(name)
    closed = deepcopy(chain)
    structure = Structure(chain)
    for width in structure.widths:
        size = width.units // width.blocks
        own = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 1))
        units = sorted(unit + block * size for unit in own for block in range(width.blocks))
        close(closed, width, units)
        structure.remove(width, units)
    x = inputs(3)
    with torch.no_grad():
        torch.testing.assert_close(chain(x), closed(x), rtol=1e-5, atol=1e-6)
    assert chain.list[0].shape[0] == 6 and chain.list[-1].co == closed.list[-1].co
    for mode in (chain, closed):
        mode.train()
    x = inputs(16)
    torch.testing.assert_close(chain(x), closed(x), rtol=1e-4, atol=1e-5)  # statistics of a batch are a channel's own


def test_pruning_the_module_itself_gives_the_same_network():
    """torch-pruning with its own pruners on PyTorch's layers against our slices of the chain."""
    module = randomised(NETS["dcgan"](), 4)
    x = inputs(5)
    chain = Chain.of(module, x).eval()
    structure = Structure(chain)
    for width, convolution, channels in zip(structure.widths, list(module.children())[0:4:3], ([1, 2, 6], [0, 5]), strict=True):
        graph = tp.DependencyGraph().build_dependency(module, (x,))
        graph.get_pruning_group(convolution, tp.prune_conv_out_channels, channels).prune()
        structure.remove(width, channels)
    module.eval()
    with torch.no_grad():
        torch.testing.assert_close(chain(x), module(x), rtol=1e-4, atol=1e-5)
    assert [layer.shape for layer in chain.list] == [(6, 5, 4, 4), (5, 4, 4, 4), (4, 3, 4, 4)]


def test_what_reaches_the_results_stays():
    chain = Chain.of(nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=4)), inputs(2))
    assert widths(chain) == []


def test_groups_must_lose_the_same_number():
    chain = net("groups")
    width = widths(chain)[0]
    with pytest.raises(ValueError, match="^3: input channels must be taken group by group, the same number of each$"):
        Structure(chain).remove(width, [0])
    layer = net("groups").list[1]
    with pytest.raises(ValueError, match="^3: output channels must be taken group by group"):
        take_outputs(layer, [0, 1, 2, 6])
    take_outputs(layer, [0, 0, 6, 7])
    take_inputs(layer, [3, 1, 7, 4])
    assert layer.shape == (4, 2, 3, 3) and layer.co == 4


def test_slices_take_all_that_a_channel_has():
    chain = net("groups")
    layer, kept = chain.list[0], deepcopy(chain.list[0])
    layer.mask = torch.rand(layer.shape) < 0.5
    mask = layer.mask
    take_outputs(layer, [5, 0])
    rows = np.array([5, 0])
    assert layer.weight is not None and kept.weight is not None and layer.norm is not None and kept.norm is not None
    assert torch.equal(layer.weight, kept.weight[:, rows]) and torch.equal(layer.mask, mask[:, rows])
    assert torch.equal(layer.slopes, kept.slopes[rows])
    for key, value in layer.norm.state_dict().items():
        wanted = kept.norm.state_dict()[key]
        assert torch.equal(value, wanted[rows] if wanted.ndim else wanted)
    assert layer.slopes.requires_grad == kept.slopes.requires_grad and layer.norm.eps == kept.norm.eps


def test_codes_are_for_the_channels_that_they_were_made_for():
    chain = net("dcgan")
    chain.list[1].code_with(UniformCoder(chain.list[1].shape, 1))
    with pytest.raises(UserError, match="^3: channels cannot change once the layer has a code; prune and grow before quantize$"):
        widths(chain)
