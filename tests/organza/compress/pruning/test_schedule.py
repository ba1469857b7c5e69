"""Schedules reach their amounts when they should, in real fine-tuning."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from organza.compress.finetune import FinetuneConfig, Networks, finetune
from organza.compress.pruning.channels import unit_scores, weakest_of_all
from organza.compress.pruning.config import PruneConfig
from organza.compress.pruning.schedule import Pruner, amount_at, follow
from organza.compress.pruning.widths import widths
from organza.errors import UserError
from tests.organza.compress.neighbours import discriminator, inputs, net

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 3, 16, 16), dtype=np.uint8)


def test_the_ramp_is_the_cubic():
    config = PruneConfig(schedule="agp", amount=0.5)
    assert amount_at(config, 0, 1000) == pytest.approx(0.05)
    assert amount_at(config, 250, 1000) == pytest.approx(0.5 - 0.45 * 0.125)
    assert amount_at(config, 490, 1000) == pytest.approx(0.5 - 0.45 * 0.02**3)
    assert {amount_at(config, step, 1000) for step in range(500, 1000)} == {0.5}
    made = [amount_at(config, step, 1000) for step in range(1000)]
    assert made == sorted(made) and len(set(made)) == 51
    assert amount_at(PruneConfig(schedule="agp", amount=0.03), 0, 100) == pytest.approx(0.03)
    assert amount_at(PruneConfig(schedule="during", amount=0.5, ramp=1.0, initial=0.0), 0, 3) == 0


def test_rounds_have_equally_many_steps():
    made = [amount_at(PruneConfig(schedule="iterative", amount=0.6, rounds=3), step, 9) for step in range(9)]
    assert made == pytest.approx([0.2] * 3 + [0.4] * 3 + [0.6] * 3)
    assert {amount_at(PruneConfig(amount=0.6), step, 9) for step in range(9)} == {0.6}


def networks() -> Networks:
    return Networks(net("dcgan", 1), discriminator(), net("dcgan", 2), discriminator())


def zeros(chain) -> float:
    masks = [layer.mask for layer in chain.list if layer.mask is not None]
    return 1 - float(torch.cat([mask.flatten() for mask in masks]).float().mean()) if masks else 0.0


@pytest.mark.parametrize("schedule, halfway", [("agp", 0.5), ("during", 0.5), ("iterative", 0.3)])
def test_both_networks_follow_the_schedule_while_they_train(schedule, halfway):
    nets = networks()
    config = PruneConfig(schedule=schedule, amount=0.5)
    pruners = [Pruner(chain, config, chain.list, x) for chain, x in ((nets.student, inputs(4)), (nets.critic, torch.zeros(1, 3, 16, 16)))]
    hook, seen = follow(pruners), []

    def before_step(step: int, steps: int) -> None:
        hook(step, steps)
        seen.append([zeros(chain) for chain in (nets.student, nets.critic)])

    finetune(nets, IMAGES, FinetuneConfig(steps=10, batch=8), before_step=before_step)
    assert np.array(seen[5]) == pytest.approx([halfway] * 2, abs=2e-3)
    assert np.array(seen[-1]) == pytest.approx([0.5] * 2, abs=2e-3)
    assert (np.diff(seen, axis=0) >= 0).all()
    for layer in nets.student.list:
        assert not layer.effective_weight()[layer.mask.logical_not()].any()


@pytest.mark.parametrize("granularity", ["filter", "channel"])
@pytest.mark.parametrize("criterion", ["magnitude", "random", "similarity"])
def test_channels_close_while_training_and_leave_at_the_end(granularity, criterion):
    nets = networks()
    config = PruneConfig(schedule="agp", amount=0.5, granularity=granularity, criterion=criterion, merge=criterion == "similarity")
    pruner = Pruner(nets.student, config, nets.student.list, inputs(8))
    finetune(nets, IMAGES, FinetuneConfig(steps=8, batch=8), before_step=follow([pruner]))
    assert nets.student.list[0].co == 8
    x = inputs(4)
    with torch.no_grad():
        wanted = nets.student(x)
        assert pruner.finish() == 4 + 3
        torch.testing.assert_close(nets.student(x), wanted, rtol=1e-5, atol=1e-6)
    assert [layer.shape[:2] for layer in nets.student.list] == [(6, 4), (4, 3), (3, 3)]
    assert all(layer.mask is None for layer in nets.student.list)


def test_filters_go_by_their_folded_norm():
    chain = net("dcgan")
    width = widths(chain)[0]
    folded = chain.float_layers()[0].folded().weights
    made = np.abs(folded).sum((0, 2, 3))
    read = np.abs(chain.float_layers()[1].weights).sum((1, 2, 3))
    assert unit_scores(chain, width, PruneConfig(granularity="filter")) == pytest.approx(made, rel=1e-5)
    assert unit_scores(chain, width, PruneConfig(granularity="channel")) == pytest.approx(made * read, rel=1e-5)


def test_channels_of_all_layers_by_one_threshold():
    chain = net("dcgan")
    found = widths(chain)
    scores = [np.array([8.0, 1, 1, 1, 1, 1, 1, 2]), np.array([1.0, 1, 1, 1, 1, 0.1])]
    gone = weakest_of_all(found, scores, 0.5)
    assert gone == [[1, 2, 3, 4, 5, 6], [5]]  # shares of the mean of 2 and of 0.85
    with pytest.raises(UserError, match="^0: pruning 90% of all channels leaves none of it; choose a smaller amount or scope"):
        weakest_of_all(found, [np.zeros(8), np.ones(6)], 0.9)
    before = deepcopy(chain)
    config = PruneConfig(granularity="filter", scope="network", amount=0.5)
    pruner = Pruner(chain, config, chain.list, inputs(2))
    pruner.to(0.5)
    assert pruner.finish() == math.floor(0.5 * 14) and sum(layer.co for layer in chain.list) == sum(layer.co for layer in before.list) - 7


def test_groups_close_alike():
    chain = net("groups")
    for scope in ("layer", "network"):
        config = PruneConfig(granularity="channel", amount=0.5, scope=scope)
        pruner = Pruner(deepcopy(chain), config, chain.list, inputs(2))
        pruner.to(0.5)
        pruner.finish()
        assert len(pruner.chain(inputs(2))) == 2
