"""Similar channels go first, and merging keeps the function where they are proportional."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from organza.compress.pruning.similarity import distances, similar_units, unit_features
from organza.compress.pruning.widths import Structure, widths
from organza.errors import UserError
from tests.organza.compress.neighbours import NETS, inputs, net


def doubled(name="dcgan"):
    """Channel 5 of the first layer is 1.7 times channel 2: the same filter, the same normalisation but for its size."""
    chain = net(name)
    layer = chain.list[0]
    layer.norm.bias.data[:] = layer.norm.bias.data.abs() + 1  # nothing is silent
    layer.weight.data[:, 5] = layer.weight.data[:, 2]
    for values in (layer.norm.running_mean, layer.norm.running_var):
        assert values is not None
        values[5] = values[2]
    for values in (layer.norm.weight.data, layer.norm.bias.data):
        values[5] = 1.7 * values[2]
    return chain


def removed(chain, width, units):
    Structure(chain).remove(width, units)
    return chain


@pytest.mark.parametrize("name", NETS)
def test_features_are_what_the_next_layer_reads(name):
    chain = net(name)
    x = inputs(3)
    with torch.no_grad():
        maps = chain.all(x)
    for width in widths(chain):
        made = unit_features(chain, width, x)
        for unit, channels in enumerate(width.inputs):
            wanted = torch.cat([maps[width.read - 1][:, channel].flatten() for channel in channels])
            assert torch.equal(made[unit].sort().values, wanted.sort().values)


def test_distances_are_those_of_directions():
    features = torch.tensor([[1.0, 0, 0], [5, 0, 0], [0, 2, 0], [-1, 0, 0], [0, 0, 0]])
    far = distances(features)
    assert far == pytest.approx(np.array([
        [0, 0, 2**0.5, 2, 1], [0, 0, 2**0.5, 2, 1], [2**0.5, 2**0.5, 0, 2**0.5, 1], [2, 2, 2**0.5, 0, 1], [1, 1, 1, 1, 0],
    ]))  # fmt: skip


def test_of_two_alike_the_less_read_one_goes():
    for quiet in (2, 5):
        chain = doubled()
        chain.list[1].weight.data[quiet] *= 1e-3
        width = widths(chain)[0]
        assert similar_units(chain, width, inputs(8), 0.125) == [quiet]


def test_merging_proportional_channels_keeps_the_function():
    chain = doubled()
    x = inputs(8)
    with torch.no_grad():
        wanted = chain(x)
        plain = deepcopy(chain)
        width = widths(chain)[0]
        units = similar_units(chain, width, x, 0.125, merge=True)
        assert units in ([2], [5])
        torch.testing.assert_close(removed(chain, width, units)(x), wanted, rtol=1e-4, atol=1e-5)
        assert (removed(plain, width, units)(x) - wanted).abs().max() > 1e-2


def test_the_order_is_the_greedy_one():
    """Against a plain loop over all pairs."""
    chain = net("dcgan")
    width, x = widths(chain)[0], inputs(8)
    features = unit_features(chain, width, x).double()
    features = features / features.norm(dim=1, keepdim=True).clamp_min(1e-300)
    norms = chain.list[1].weight.detach().flatten(1).norm(dim=1)
    left, wanted = list(range(8)), []
    wanted += [unit for unit in left if not features[unit].any()]
    left = [unit for unit in left if unit not in wanted]
    while len(wanted) < 5:
        _, one, other = min((float((features[a] - features[b]).norm()), a, b) for a in left for b in left if a < b)
        lost = one if norms[one] <= norms[other] else other
        wanted.append(lost)
        left.remove(lost)
    assert similar_units(chain, width, x, 5 / 8) == sorted(wanted)


def test_more_is_a_superset_and_groups_lose_alike():
    chain = net("groups")
    for width in widths(chain):
        size, gone = width.units // width.blocks, frozenset()
        for count in range(1, size):
            units = similar_units(chain, width, inputs(8), count / size, gone=gone)
            assert gone < set(units)
            assert [sum(unit // size == block for unit in units) for block in range(width.blocks)] == [count] * width.blocks
            gone = frozenset(units)


def test_silent_channels_go_first():
    chain = doubled()
    chain.list[0].norm.weight.data[[1, 6]] = 0
    chain.list[0].norm.bias.data[[1, 6]] = -1  # ReLU makes 0 of it
    assert set(similar_units(chain, widths(chain)[0], inputs(8), 0.25)) == {1, 6}


def test_the_published_amounts_of_channels():
    """SP-GAN: a tenth of 256 and 128 channels leaves 231 and 116."""
    from organza.compress.pruning.channels import count_of
    from organza.compress.pruning.widths import Width

    for units, left in ((256, 231), (128, 116)):
        each = tuple((k,) for k in range(units))
        assert units - count_of(Width("a", 0, 1, each, each, (), 1), 0.1) == left
    with pytest.raises(UserError, match="^a: pruning 100% of 2 channels leaves none; choose a smaller amount$"):
        count_of(Width("a", 0, 1, ((0,), (1,)), ((0,), (1,)), (), 1), 1.0)
