"""Ranks by energy are minimal, and ranks by budget keep to it."""

import itertools

import numpy as np
import pytest

from organza.compress.low_rank.factorize import by_budget, by_energy, factorize, factors_of
from organza.compress.low_rank.ranks import ranks_within, saving_ranks
from organza.compress.low_rank.separable import Separable
from organza.compress.sketch import macs, sketch
from organza.errors import UserError
from organza.geometry import Axis
from organza.program import Program
from tests.organza.compress.low_rank.test_factors import random_layer
from tests.organza.compress.neighbours import net

AXIS = Axis(size=4, kernel=4, up=2, crop_before=1, crop_after=1)


def layers(decays=(2.0, 1.0, 4.0)):
    """Layers with singular values that fall at different rates."""
    made = []
    for number, decay in enumerate(decays):
        layer = random_layer(AXIS, AXIS, 1, 6, 5, seed=number)
        matrix = layer.weight.detach().numpy().transpose(0, 2, 1, 3).reshape(24, 20)
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        matrix = (u * np.exp(-np.arange(20) / decay)) @ v
        layer.weight.data = layer.weight.data.new_tensor(matrix.reshape(6, 4, 5, 4).transpose(0, 2, 1, 3).copy())
        layer.name = f"layer{number}"
        made.append(layer)
    return made


def test_energy_takes_the_fewest_components():
    options = [Separable(layer) for layer in layers()]
    for factors, choice in zip(options, by_energy(options, 0.95), strict=True):
        square = factors.s[0] ** 2
        kept = np.cumsum(square) / square.sum()
        assert choice == (int(np.flatnonzero(kept >= 0.95)[0]) + 1,)


def test_layers_that_would_grow_stay_as_they_are():
    chain = net("dcgan")  # random weights have no low rank
    assert by_energy(factors_of(chain, chain.list, "separable"), 0.999) == [None, None, None]
    wide = Separable(random_layer(AXIS, AXIS, 1, 6, 5))
    ranks = saving_ranks(wide.layer.float_layer(), wide)
    dense = macs([wide.layer.float_layer()])
    assert all(macs(wide.sketch(rank)) < dense for rank in ranks)
    assert macs(wide.sketch((ranks[-1][0] + 1,))) >= dense


@pytest.mark.parametrize("share", [0.2, 0.35, 0.6])
def test_a_budget_is_kept_and_used(share):
    whole = [layer.float_layer() for layer in layers()]
    options = [Separable(layer) for layer in layers()]
    budget = share * macs(whole)

    def cost(choices) -> float:
        return macs([one for layer, factors, choice in zip(whole, options, choices, strict=True)
                     for one in ([layer] if choice is None else factors.sketch(choice))])  # fmt: skip

    def error(choices) -> float:
        return sum(0 if choice is None else factors.error(choice) for factors, choice in zip(options, choices, strict=True))

    chosen = ranks_within(whole, options, macs, budget)
    assert cost(chosen) <= budget
    tables = [[*saving_ranks(layer, factors), None] for layer, factors in zip(whole, options, strict=True)]
    best = min(error(choices) for choices in itertools.product(*tables) if cost(choices) <= budget)
    assert best <= error(chosen) <= 1.3 * best
    for number, choice in enumerate(chosen):  # no layer can have one more
        if choice is not None:
            more = [*chosen]
            table = tables[number]
            more[number] = table[table.index(choice) + 1]
            assert cost(more) > budget


def test_any_cost_can_be_handed_in():
    """The slowest layer alone, as in a pipeline with fixed lanes."""
    chain = net("dcgan")
    dense = [layer.macs for layer in chain.float_layers()]

    def slowest(found) -> float:
        return max(layer.macs for layer in found)

    choices = by_budget(chain, factors_of(chain, chain.list, "separable"), slowest, 0.5)
    factorize(chain, factors_of(chain, chain.list, "separable"), choices)
    assert slowest(chain.float_layers()) <= 0.5 * max(dense)
    assert choices[int(np.argmax(dense))] is not None


def test_budgets_that_no_rank_meets():
    chain = net("dcgan")
    with pytest.raises(UserError, match="^factorize: the smallest ranks still cost .*, above the budget of .*; allow more"):
        by_budget(chain, factors_of(chain, chain.list, "separable"), macs, 0.001)


def test_sketches_are_programs_of_the_same_shapes():
    chain = net("dcgan")
    factorize(chain, factors_of(chain, chain.list, "tucker", 12), [(4, 4), None, None])
    program = sketch(chain.float_layers())
    assert isinstance(program, Program)
    assert [node.name for node in program.nodes] == [layer.name for layer in chain.list]
    assert [node.output.bits for node in program.nodes] == [12, 12, 8, 8, 8]
    assert sum(node.macs for node in program.nodes) == macs(chain.float_layers())
