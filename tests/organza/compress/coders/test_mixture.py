"""The prior of soft weight sharing: torch.distributions, numerical gradients, components that are the same."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, MixtureSameFamily, Normal

from organza.compress.coders.mixture import CHUNK, MixtureLoss, likeliest, merged


def mixture(seed, count=5, weights=40):
    rng = torch.Generator().manual_seed(seed)
    draw = [torch.randn(n, generator=rng, dtype=torch.float64) for n in (weights, count, count, count)]
    return 0.5 * draw[0], 0.5 * draw[1], draw[2] + 3, torch.log_softmax(draw[3], 0)


@given(st.integers(0, 200))
def test_the_loss_is_that_of_torch_distributions(seed):
    w, means, log_precisions, log_mix = mixture(seed)
    theirs = MixtureSameFamily(Categorical(logits=log_mix), Normal(means, (-0.5 * log_precisions).exp()))
    torch.testing.assert_close(MixtureLoss.apply(w, means, log_precisions, log_mix), -theirs.log_prob(w).sum())
    single = MixtureLoss.apply(*(part.float() for part in (w, means, log_precisions, log_mix)))
    torch.testing.assert_close(single.double(), -theirs.log_prob(w).sum(), rtol=1e-4, atol=1e-3)


@given(st.integers(0, 50))
def test_gradients_are_numerical_ones(seed):
    parts = [part.requires_grad_() for part in mixture(seed, 4, 15)]
    assert torch.autograd.gradcheck(MixtureLoss.apply, parts)


def test_chunks_add_up():
    parts = mixture(0, 3, 2 * CHUNK + 7)
    whole = MixtureLoss.apply(*parts)
    torch.testing.assert_close(whole, sum(MixtureLoss.apply(part, *parts[1:]) for part in parts[0].split(1000)))


def test_far_weights_have_finite_gradients():
    w = torch.tensor([1e3, -1e3, 0.0], requires_grad=True)
    MixtureLoss.apply(w, torch.tensor([0.0, 0.6]), torch.tensor([8.0, 9.0]), torch.tensor([-0.1, -2.0])).backward()
    assert w.grad is not None and torch.isfinite(w.grad).all() and w.grad[0] > 0 > w.grad[1]


def test_the_likeliest_component_has_the_largest_share():
    w, means, log_precisions, log_mix = mixture(3)
    densities = torch.stack([
        Normal(m, (-0.5 * p).exp()).log_prob(w) + x for m, p, x in zip(means, log_precisions, log_mix, strict=True)
    ])  # fmt: skip
    assert torch.equal(likeliest(w, means, log_precisions, log_mix), densities.argmax(0))


def test_components_are_merged_by_their_kullback_leibler_distance():
    means, precisions = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.1]), torch.tensor([3.0, 2.0, 3.0, 2.5, 3.0])
    assert merged(means, precisions, 1e-10) == [[0, 2], [1], [3], [4]]
    distance = torch.distributions.kl_divergence(Normal(0.5, float((-0.5 * precisions[1]).exp())), Normal(0.5, float((-0.5 * precisions[3]).exp())))
    assert merged(means, precisions, float(distance) * 1.01)[1] == [1, 3]
    # A chain: 0 is near 0.1 and that near 0.2.
    assert merged(torch.tensor([0.0, 0.1, 0.2, 9.0]), torch.zeros(4), 0.006) == [[0, 1, 2], [3]]
