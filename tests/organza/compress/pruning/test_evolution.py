"""The search never gets worse, obeys its limits, and finds better masks than chance and than norms."""

import numpy as np
import pytest
import torch

from organza.compress.chain import Chain
from organza.compress.pruning.channels import unit_scores, weakest
from organza.compress.pruning.config import PruneConfig
from organza.compress.pruning.evolution import PRESETS, EvolutionConfig, Fitness, evolve, prune_by
from organza.compress.pruning.widths import widths
from organza.compress.sketch import macs
from tests.organza.compress.neighbours import discriminator, inputs, net


def fitness(config: EvolutionConfig, name: str = "dcgan", cost=None, seed: int = 0) -> Fitness:
    chain = net(name, seed)
    chain.calibrate([inputs(64)])
    judge = discriminator()
    if name != "dcgan":
        _, co, height, width = chain(inputs(2)).shape
        torch.manual_seed(5)
        module = torch.nn.Sequential(torch.nn.Conv2d(co, 4, min(3, height)), torch.nn.LeakyReLU(0.2))
        judge = Chain.of(module, torch.randn(2, co, height, width)).eval()
    return Fitness(chain, judge, inputs(64), config, cost)


def test_the_best_never_gets_worse_and_beats_chance_and_norms_at_equal_channels():
    config = EvolutionConfig(population=10, generations=6, amount=0.5, size=0, seed=1)
    search = fitness(config, seed=3)
    found = evolve(search)
    assert len(found.best) == 6 and found.best == sorted(found.best, reverse=True) and found.best[-1] < found.best[0]
    assert found.best[-1] == search(found.keep) == found.terms["distance"]
    sizes = [width.units for width in widths(search.chain)]
    assert [int(bits.sum()) for bits in np.split(found.keep, np.cumsum(sizes)[:-1])] == [4, 3]

    def mask(gone: list[list[int]]) -> np.ndarray:
        return np.concatenate([~np.isin(np.arange(size), units) for size, units in zip(sizes, gone, strict=True)])

    rng = np.random.default_rng(0)
    chance = [search(mask([rng.choice(size, size // 2, replace=False).tolist() for size in sizes])) for _ in range(12)]
    norms = [
        search(mask([weakest(width, unit_scores(search.chain, width, PruneConfig(granularity=granularity)), 0.5)
                     for width in widths(search.chain)]))
        for granularity in ("filter", "channel")
    ]  # fmt: skip
    assert found.best[-1] < min(chance) and found.best[-1] < min(norms)


def test_the_cost_that_is_handed_in_decides():
    """Cycles alone: as few channels as may be left."""
    found = evolve(fitness(EvolutionConfig(population=8, generations=12, distance=0, size=0, cycles=1, least=2), cost=macs))
    assert found.terms["cycles"] < 0.3 and found.keep[:8].sum() >= 2 and found.keep[8:].sum() >= 2
    assert fitness(EvolutionConfig(cycles=1)).terms(found.keep).keys() == {"distance", "size"}  # no cost, no term


def test_pruned_copies_are_judged_and_the_chain_stays():
    search = fitness(EvolutionConfig(seed=0), cost=macs)
    keep = np.ones(14, bool)
    assert search.terms(keep) == {"distance": 0.0, "size": 1.0, "cycles": 1.0}
    keep[[0, 9]] = False
    terms = search.terms(keep)
    assert terms["size"] == (6 * 7 * 16 + 7 * 5 * 16 + 5 * 3 * 16) / (6 * 8 * 16 + 8 * 6 * 16 + 6 * 3 * 16)
    assert terms["distance"] > 0 and search.chain.list[0].co == 8
    prune_by(search.chain, keep)
    assert [layer.co for layer in search.chain.list] == [7, 5, 3]


def test_groups_lose_the_same_channels_and_the_same_seed_finds_the_same():
    found = [evolve(fitness(EvolutionConfig(population=6, generations=3, size=2, seed=seed), "groups")).keep for seed in (0, 0, 5)]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    for keep in found:
        assert np.array_equal(keep[:4], keep[4:8])
        assert len(np.unique(keep[8:20].reshape(6, 2), axis=0)) == 1


def test_an_individual_is_adapted_before_it_is_judged():
    seen = []
    search = fitness(EvolutionConfig())
    search.adapt = lambda chain: seen.append([layer.co for layer in chain.list])
    keep = np.ones(14, bool)
    keep[3] = False
    search(keep)
    search(keep)
    assert seen == [[7, 6, 3]]


def test_presets():
    assert PRESETS["paper"] == (32, 50, 10)
    assert all(small < paper for small, paper in zip(PRESETS["small"], PRESETS["paper"], strict=True))


@pytest.mark.parametrize("change, message", [
    ({"population": 1}, "^evolution population must be in"), ({"generations": 0}, "^evolution generations must be in"),
    ({"distance": -1.0}, "^evolution distance must be at least 0"), ({"mutation": 1.5}, r"^evolution mutation must be in \[0, 1\]"),
    ({"amount": 1.0}, r"^evolution amount must be in \(0, 1\)"), ({"least": 0}, "^evolution least must be in"),
])  # fmt: skip
def test_wrong_settings(change, message):
    with pytest.raises(ValueError, match=message):
        EvolutionConfig(**change)
