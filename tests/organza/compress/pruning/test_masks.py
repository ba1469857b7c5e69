"""Masks of every granularity, against PyTorch's own pruning."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as oracle

from organza.codes.pruning import prune
from organza.compress.chain import Chain
from organza.compress.coders import CODERS
from organza.compress.pruning.config import GRANULARITIES, STRUCTURAL, PruneConfig
from organza.compress.pruning.masks import mask_weights, unit_numbers
from organza.errors import UserError
from tests.organza.compress.neighbours import inputs, net


def masked(chain: Chain, amount: float, **options) -> list[np.ndarray]:
    mask_weights(chain.list, PruneConfig(amount=amount, **options), amount)
    assert all(layer.mask is not None for layer in chain.list)
    return [layer.mask.numpy() for layer in chain.list]


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.83])
def test_elements_are_pytorchs(amount):
    chain = net("dcgan")
    wanted = []
    for layer in chain.list:
        module = nn.Module()
        module.weight = nn.Parameter(layer.weight.detach().clone())
        wanted.append(oracle.l1_unstructured(module, "weight", amount).weight_mask.bool().numpy())
    for mask, other in zip(masked(chain, amount), wanted, strict=True):
        assert np.array_equal(mask, other)


def test_one_threshold_for_the_network_is_pytorchs():
    chain = net("dcgan")
    modules = []
    for layer in chain.list:
        module = nn.Module()
        module.weight = nn.Parameter(layer.weight.detach().clone())
        modules.append((module, "weight"))
    oracle.global_unstructured(modules, oracle.L1Unstructured, amount=0.4)
    for mask, (module, _) in zip(masked(chain, 0.4, scope="network"), modules, strict=True):
        assert np.array_equal(mask, module.weight_mask.bool().numpy())


@pytest.mark.parametrize("granularity, axes", [("row", (3,)), ("column", (2,)), ("kernel", (2, 3)), ("block", (0,))])
def test_larger_units_go_by_their_mean(granularity, axes):
    chain = net("dcgan")
    layer = chain.list[1]  # 8 → 6 channels, 4×4 taps
    options = {"block": 8} if granularity == "block" else {}
    mask = masked(chain, 0.25, granularity=granularity, **options)[1]
    means = layer.weight.detach().abs().numpy().mean(axes)
    lowest = np.sort(means, axis=None)[means.size // 4 - 1]
    assert np.array_equal(mask, np.broadcast_to(np.expand_dims(means > lowest, axes), mask.shape))


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(2, 5))
@settings(max_examples=60)
def test_units_are_whole(groups, cig, cog, ky, kx, block):
    shape = groups * cig, cog, ky, kx
    place = np.indices(shape)
    for granularity in (g for g in GRANULARITIES if g not in STRUCTURAL):
        units = unit_numbers(shape, groups, granularity, block)
        group, channel = np.divmod(place[0], cig)
        key = {
            "element": (*place,), "row": place[:3], "column": (place[0], place[1], place[3]), "kernel": place[:2],
            "block": (group, channel // block, *place[1:]),
        }[granularity]  # fmt: skip
        pairs = {(unit, where) for unit, *where in zip(units.ravel().tolist(), *(part.ravel().tolist() for part in key), strict=True)
                 for where in [tuple(where)]}  # fmt: skip
        assert len(pairs) == len({unit for unit, _ in pairs}) == len({where for _, where in pairs}) == units.max() + 1


@pytest.mark.parametrize("name", ["dcgan", "groups"])
def test_balanced_masks_are_those_of_the_sparse_lanes(name):
    chain = net(name)
    for layer, mask in zip(chain.list, masked(chain, 0.6, balanced=True, block=4), strict=True):
        assert np.array_equal(mask, prune(layer.weight.detach().abs().double().numpy(), layer.groups, 60, 4))
        cig = layer.shape[0] // layer.groups
        counts = mask.reshape(layer.groups, cig, *mask.shape[1:])[:, : cig // 4 * 4].reshape(layer.groups, -1, 4, *mask.shape[1:])
        assert (np.unique(counts.sum(2)) == 2).all()  # 1.6 of 4, rounded


def test_what_is_gone_stays_gone():
    for criterion in ("magnitude", "random"):
        chain = net("dcgan")
        config = PruneConfig(criterion=criterion)
        before = [np.ones(layer.shape, bool) for layer in chain.list]
        for amount in (0.2, 0.5, 0.8):
            mask_weights(chain.list, config, amount)
            for layer, old in zip(chain.list, before, strict=True):
                now = layer.mask.numpy()
                assert not (now & ~old).any()
                assert abs(now.mean() - (1 - amount)) < 1 / now.size
            before = [layer.mask.numpy() for layer in chain.list]
            with torch.no_grad():
                for layer in chain.list:
                    layer.weight.data += 3 * torch.randn(layer.shape) * layer.mask.logical_not()  # what a mask hides may grow


def test_random_masks_follow_the_seed():
    made = [masked(net("dcgan"), 0.5, criterion="random", seed=seed)[0] for seed in (1, 1, 2)]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_an_empty_layer_is_named_and_nothing_is_done():
    chain = net("dcgan")
    chain.list[1].weight.data *= 1e-6
    with pytest.raises(UserError, match="^3: pruning 60% by element leaves no weights of 768; choose a smaller amount"):
        masked(chain, 0.6, scope="network")
    assert all(layer.mask is None for layer in chain.list)
    with pytest.raises(UserError, match="^0: pruning 99% by kernel leaves no weights of 768"):
        masked(chain, 0.99, granularity="kernel")


def test_weights_of_a_code_cannot_be_pruned():
    chain = net("dcgan")
    owner = next(coder for coder in CODERS.values() if coder.owns)
    layer = chain.list[1]
    layer.code_with(owner(layer.shape, layer.groups))
    with pytest.raises(UserError, match="^3: weights that a code makes cannot be pruned; prune before quantize$"):
        masked(chain, 0.5)


@pytest.mark.parametrize("change, error, message", [
    ({"criterion": "beauty"}, ValueError, "^prune criterion must be one of random, magnitude, .*, not 'beauty'$"),
    ({"granularity": "atom"}, ValueError, "^prune granularity must be one of element, .*, not 'atom'$"),
    ({"schedule": "never"}, ValueError, "^prune schedule must be one of oneshot, .*, not 'never'$"),
    ({"amount": 1.0}, ValueError, r"^prune amount must be in \(0, 1\), not 1.0$"),
    ({"amount": "much"}, TypeError, "^prune amount must be a number, not 'much'$"),
    ({"initial": -0.1}, ValueError, r"^prune initial must be in \[0, 1\)"), ({"ramp": 0.0}, ValueError, r"^prune ramp must be in \(0, 1\]"),
    ({"criterion": "similarity"}, ValueError, "^prune criterion similarity compares channels: granularity must be channel or filter"),
    ({"criterion": "evolutionary", "granularity": "channel", "schedule": "agp"}, ValueError, "^prune .*schedule must be oneshot, not agp$"),
    ({"criterion": "similarity", "granularity": "channel", "scope": "network"}, ValueError, "^prune .*scope must be layer$"),
    ({"balanced": True, "granularity": "kernel"}, ValueError, "^prune balanced is for granularity element"),
    ({"merge": True}, ValueError, "^prune merge is for criterion similarity$"),
])  # fmt: skip
def test_wrong_settings(change, error, message):
    with pytest.raises(error, match=message):
        PruneConfig(**change)


def test_masks_reach_the_program_as_sparse_codes():
    chain = net("dcgan")
    masks = masked(chain, 0.5)
    for layer, mask in zip(chain.float_layers(), masks, strict=True):
        assert layer.coded.code.kind == "sparse"
        assert not (layer.coded.code.integers() != 0)[~mask].any()
    with torch.no_grad():
        assert torch.isfinite(chain(inputs(2))).all()
