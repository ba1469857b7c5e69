"""Sparse low rank: the stored values are the paper's number, and what is cut is what matters least."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.compress.low_rank.factorize import factorize, factors_of, sparse_rows
from organza.compress.low_rank.slr import activation_importance, bounds, cost_importance, shorten, weight_importance
from tests.organza.compress.neighbours import inputs, net


def factorised(name="dcgan", rank=8):
    chain = net(name)
    before = deepcopy(chain)
    options = factors_of(chain, chain.list[1:2], "separable")
    factorize(chain, options, [None if factors is None else (rank,) for factors in options])
    return before, chain


@given(st.integers(2, 40), st.integers(1, 30), st.floats(0, 1), st.floats(0.01, 1))
@settings(max_examples=80)
def test_values_are_the_papers(rows, rank, share, short):
    """(m + n)·((1 − sr)·k + sr·rr·k) with sr and rr as whole rows and components."""
    importance = np.random.default_rng(0).permutation(rows).astype(float)
    made = bounds(importance, rank, share, short)
    cut = int(share * rows + 0.5)
    left = max(1, int(short * rank + 0.5))
    assert made.sum() == (rows - cut) * rank + cut * left
    assert set(made[importance < cut]) <= {left} and set(made[importance >= cut]) <= {rank}


@pytest.mark.parametrize("name", ["dcgan", "groups"])
def test_masks_keep_leading_components(name):
    before, chain = factorised(name, 6)
    ranks = {before.list[1].name: (6,)}
    notes = sparse_rows(chain, before, ranks, "weight", 0.5, 0.5, inputs(4), lambda chain: 0.0)
    vertical, horizontal = chain.list[1:3]
    assert vertical.mask is not None and horizontal.mask is not None
    assert notes["3"]["values"] == int(vertical.mask.sum() + horizontal.mask.sum()) < notes["3"]["values_before"]
    assert notes["3"]["values_before"] == vertical.mask.numel() + horizontal.mask.numel()
    rows = vertical.mask[..., 0].transpose(1, 2).reshape(-1, 6)
    columns = horizontal.mask.reshape(horizontal.groups, 6, -1).transpose(1, 2).reshape(-1, 6)
    for kept in (rows, columns):
        assert torch.equal(kept, torch.arange(6) < kept.sum(1, keepdim=True))
        assert set(kept.sum(1).tolist()) == {3, 6}
    with torch.no_grad():
        assert torch.isfinite(chain(inputs(2))).all()


def test_weights_tell_rows_by_their_sums():
    layer = net("groups").list[1]  # 8 → 12 in two groups
    rows, columns = weight_importance(layer)
    weight = layer.weight.detach().abs().numpy()
    assert rows == pytest.approx(weight.sum((1, 3)), rel=1e-6)
    assert columns[1, 2] == pytest.approx(weight[4:, 2].sum((0, 1)), rel=1e-6)


def test_activations_tell_rows_by_their_means():
    chain = net("groups")
    x = inputs(5)
    rows, columns = activation_importance(chain, 1, x)
    with torch.no_grad():
        maps = chain.all(x)
    assert rows[3] == pytest.approx(np.full(3, float(maps[0][:, 3].abs().mean())), rel=1e-5)
    assert columns[1, 4] == pytest.approx(np.full(3, float(maps[1][:, 6 + 4].abs().mean())), rel=1e-5)


def test_cost_is_what_a_row_alone_changes():
    before, chain = factorised(rank=8)
    x = inputs(6)
    with torch.no_grad():
        wanted = before(x)

    def loss(trial):
        with torch.no_grad():
            return float((trial(x) - wanted).square().mean())

    kept = deepcopy(chain.state_dict())
    rows, columns = cost_importance(chain, 1, 8, 0.5, loss)
    assert all(torch.equal(value, kept[key]) for key, value in chain.state_dict().items())
    assert rows.shape == (8, 4) and columns.shape == (1, 6, 4)
    trial = deepcopy(chain)
    trial.list[1].weight.data[2, 4:, 1] = 0
    assert rows[2, 1] == pytest.approx(loss(trial) - loss(chain), rel=1e-4)
    trial = deepcopy(chain)
    trial.list[2].weight.data[4:, 5, 0, 3] = 0
    assert columns[0, 5, 3] == pytest.approx(loss(trial) - loss(chain), rel=1e-4)


def test_the_least_costly_rows_are_the_least_loss():
    """Cutting by cost changes images less than cutting the rows that cost most."""
    before, chain = factorised(rank=12)
    x = inputs(16)
    with torch.no_grad():
        wanted = before(x)

    def loss(trial):
        with torch.no_grad():
            return float((trial(x) - wanted).square().mean())

    by_cost = deepcopy(chain)
    sparse_rows(by_cost, before, {"3": (12,)}, "cost", 0.5, 0.25, x, loss)
    rows, columns = cost_importance(chain, 1, 12, 0.25, loss)
    worst = deepcopy(chain)
    shorten(worst.list[1], worst.list[2], *(bounds(-one.ravel(), 12, 0.5, 0.25).reshape(one.shape) for one in (rows, columns)))
    assert loss(by_cost) < 0.5 * loss(worst)
