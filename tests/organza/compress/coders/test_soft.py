"""Soft weight sharing: real weights in training, means at the end, pruned by the component at zero."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from organza.compress.coders.soft import SoftCoder
from tests.organza.compress.coders.cases import ready, real, weights

SHAPE = (8, 6, 3, 4)


def test_it_can_start_as_the_authors_do():
    weight = 0.1 * weights("normal", SHAPE)
    coder = ready("soft", {"start": "range", "zero_share": 0.99}, weight)
    means, log_precisions, log_mix = coder.mixture()
    peak = weight.abs().max()
    assert means[0] == 0 and means[1:].tolist() == pytest.approx((peak * torch.linspace(-1, 1, 15)).tolist(), rel=1e-5)
    assert (-0.5 * log_precisions).exp().tolist() == pytest.approx([0.25] * 16)
    assert log_mix.exp().tolist() == pytest.approx([0.99] + [0.01 / 15] * 15)
    assert float(weight.abs().max() / coder.unit) == pytest.approx(0.6)


@pytest.mark.parametrize("masked", [False, True])
def test_it_starts_with_clusters(masked):
    weight = 0.1 * weights("normal", SHAPE)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5 if masked else None
    coder = ready("soft", {"components": 8}, weight, 1, mask)
    values = (weight if mask is None else weight[mask]).double().numpy().reshape(-1, 1)
    found = np.sort(KMeans(8, init=np.linspace(values.min(), values.max(), 8)[:, None], n_init=1, tol=0).fit(values).cluster_centers_[:, 0])
    wanted = np.delete(found, np.abs(found).argmin())
    means, log_precisions, log_mix = coder.mixture()
    assert means[0] == 0 and means[1:].tolist() == pytest.approx(wanted.tolist(), rel=1e-4)
    deviation = np.median(np.diff(found)) / 2 / float(coder.unit)
    assert (-0.5 * log_precisions).exp().tolist() == pytest.approx([deviation] * 8, rel=1e-4)
    assert log_mix[0].exp().item() == pytest.approx(0.5)


def test_the_penalty_is_the_mixture_with_gamma_priors():
    weight = 0.1 * weights("normal", SHAPE)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5
    for use in (None, mask):
        coder = ready("soft", {"tau": 0.02}, weight, 1, use)
        w = ((weight if use is None else weight[use]) / coder.unit).double().reshape(-1)
        means, log_precisions, log_mix = (part.detach().double() for part in coder.mixture())
        normal = torch.distributions.Normal(means / coder.unit.double(), (-0.5 * log_precisions).exp())
        wanted = -torch.logsumexp(log_mix + normal.log_prob(w[:, None]), 1).sum()
        for k, precision in enumerate(log_precisions.exp()):
            alpha, beta = (5e3, 2.0) if k == 0 else (250.0, 0.1)
            prior = torch.distributions.Gamma(torch.tensor(alpha, dtype=torch.float64), torch.tensor(beta, dtype=torch.float64))
            constant = alpha * np.log(beta) - torch.lgamma(torch.tensor(alpha, dtype=torch.float64))
            wanted = wanted - (prior.log_prob(precision) - constant)
        masked = weight if use is None else weight * use
        torch.testing.assert_close(coder.penalty(masked, use).double(), 0.02 / len(w) * wanted, rtol=1e-4, atol=1e-5)


def train(coder: Any, weight, mask=None, steps=400):
    """Only the prior: weights fall together."""
    weight = weight.clone().requires_grad_()
    optimiser = torch.optim.Adam([weight, *coder.parameters()], lr=2e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        coder.penalty(weight if mask is None else weight * mask, mask).backward()
        optimiser.step()
    return weight.detach()


def test_the_mixture_collapses_and_prunes():
    weight = 0.3 * weights("normal", SHAPE)
    coder = ready("soft", {"zero_share": 0.5, "components": 6, "rate": 10.0, "start": "range"}, weight).train()
    assert torch.equal(coder(weight, None), weight)
    moved = train(coder, weight)
    before = (ready("soft", {"zero_share": 0.5, "components": 6, "start": "range"}, weight)(weight, None) - weight).square().mean()
    coder.finish(moved, None)
    after = (coder(moved, None) - moved).square().mean()
    assert coder.penalty(moved, None) is None
    assert after < 0.05 * before
    integers = coder.coded(moved, None).code.integers()
    assert (integers == 0).mean() > 0.4 and len(np.unique(integers)) <= 6
    assert torch.equal(coder(moved, None), real(coder, moved, None))


def test_after_the_end_only_the_means_move():
    weight = 0.3 * weights("normal", SHAPE)
    coder = ready("soft", {"zero_share": 0.4, "components": 4}, weight).train()
    coder.finish(weight, None)
    index, free = coder.index.clone(), weight.clone().requires_grad_()
    outer = weights("normal", SHAPE, 4)
    coder(free, None).backward(outer)
    assert free.grad is None
    for k in range(1, 4):
        assert float(coder.slow_means.grad[k - 1]) == pytest.approx(0.2 * float(outer[index == k].sum()), rel=1e-4, abs=1e-5)
    with torch.no_grad():
        coder.slow_means += 1
    coder.finish(free, None)
    assert torch.equal(coder.index, index)
    assert not coder(free, None)[index == 0].any()


def test_components_that_became_the_same_are_one():
    coder = ready("soft", {"components": 4, "zero_share": 0.2, "start": "range"}, 0.6 * weights("constant", SHAPE))
    with torch.no_grad():
        coder.slow_means.copy_(torch.tensor([1.0, 1.0, 0.0]))
        coder.slow_precisions.fill_(1.0)
    weight = torch.tensor([0.0, 0.2, 0.199, -0.001]).repeat(144).reshape(SHAPE)
    coder.finish(weight, None)
    assert set(coder.index.unique().tolist()) == {0, 1}
    made = coder(weight, None)
    assert made[0, 0, 0].tolist() == pytest.approx([0, 0.2, 0.2, 0], abs=1e-6)


@pytest.mark.parametrize("options, error, message", [
    ({"components": 1}, ValueError, "^soft components must be between 2 and 256, not 1$"),
    ({"zero_share": 1}, ValueError, "^soft zero_share must be between"),
    ({"tau": -1}, ValueError, "^soft tau must be between"),
    ({"rate": "fast"}, TypeError, "^soft rate must be a number, not 'fast'$"),
])  # fmt: skip
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        SoftCoder(SHAPE, 1, **options)
