"""Weight sharing: clusters of scikit-learn, gradients that are sums over members, zeros that stay."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from organza.compress.coders.kmeans import KMeansCoder
from tests.organza.compress.coders.cases import ready, weights

SHAPE = (8, 6, 3, 4)


@pytest.mark.parametrize("masked", [False, True])
def test_clusters_are_those_of_scikit_learn(masked):
    weight = weights("normal", SHAPE)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5 if masked else None
    coder = ready("kmeans", {"centroids": 8}, weight, 1, mask)
    values = (weight if mask is None else weight[mask]).double().numpy().reshape(-1, 1)
    free = 8 - masked
    start = np.linspace(values.min(), values.max(), free)[:, None]
    means = KMeans(free, init=start, n_init=1, tol=0).fit(values)
    found = coder.centroids.detach().numpy()
    assert (found[0] == 0) == masked
    assert np.sort(found[masked:]) == pytest.approx(np.sort(means.cluster_centers_[:, 0]), rel=1e-5)
    index = coder.index.numpy()
    assert (means.cluster_centers_[means.labels_, 0] == pytest.approx(found[index if mask is None else index[mask.numpy()]].reshape(-1), rel=1e-5))
    if mask is not None:
        assert not index[~mask.numpy()].any() and (index[mask.numpy()] > 0).all()


def test_gradients_are_sums_over_members():
    """Against differences of a loss that is not linear in the weights."""
    weight, target = weights("normal", SHAPE), weights("normal", SHAPE, 1).double()
    coder = ready("kmeans", {"centroids": 5}, weight).double()

    def loss(centroids):
        return (torch.tanh(centroids[coder.index.long()]) - target).square().sum()

    made = coder(None, None)
    # Straight through: the slope is taken where the rounded weights are.
    (torch.tanh(made) - target).square().sum().backward()
    values = torch.unique(made.detach())
    assert len(values) == 5
    order = coder.centroids.detach().argsort().argsort()
    rounded = values[order]
    for k in range(5):
        step = torch.zeros(5, dtype=torch.float64)
        step[k] = 1e-6
        slope = (loss(rounded + step) - loss(rounded - step)) / 2e-6
        assert float(coder.centroids.grad[k]) == pytest.approx(float(slope), rel=1e-6)


def test_zero_stays_while_centroids_are_trained():
    weight = weights("normal", SHAPE)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.3
    coder = ready("kmeans", {"centroids": 4}, weight, 1, mask).train()
    optimiser = torch.optim.Adam(coder.parameters(), lr=0.1)
    before = coder.centroids.detach().clone()
    for _ in range(5):
        optimiser.zero_grad()
        (coder(None, mask) - 9).square().sum().backward()
        optimiser.step()
    assert coder.centroids[0] == 0 and (coder.centroids[1:] > before[1:]).all()
    assert not coder(None, mask)[~mask].any()


def test_channels_are_clustered_over_their_sizes():
    weight = weights("normal", (32, 3, 4, 4)) * torch.tensor([1.0, 1e-3, 40.0]).reshape(1, 3, 1, 1)
    coder = ready("kmeans", {"granularity": "channel"}, weight)
    wrong = (coder(None, None) - weight).square().mean((0, 2, 3)) / weight.square().mean((0, 2, 3))
    assert wrong.max() < 0.02


def test_few_different_weights_need_few_centroids():
    weight = torch.tensor([0.5, -0.5, 0.5, 0.25]).reshape(4, 1, 1, 1)
    code, _ = ready("kmeans", {"centroids": 16}, weight).code(None, None)
    assert len(code.centroids) == 3
    code, _ = ready("kmeans", {}, torch.zeros(4, 1, 1, 1)).code(None, None)
    assert len(code.centroids) == 2 and not code.integers().any()


@pytest.mark.parametrize("count, error", [(1, ValueError), (257, ValueError), (16.0, TypeError)])
def test_wrong_counts(count, error):
    with pytest.raises(error, match="^kmeans centroids must be"):
        KMeansCoder(SHAPE, 1, centroids=count)
