"""Ternary weights: thresholds, scales and their gradients in closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.compress.coders.ternary import TernaryCoder
from tests.organza.compress.coders.cases import ready, weights

SHAPE = (4, 6, 3, 2)


@given(st.integers(0, 1000), st.sampled_from(["tensor", "channel"]), st.sampled_from(["max", "mean", "sparsity"]), st.booleans())
def test_thresholds_and_scales(seed, granularity, threshold, masked):
    weight = weights("normal", SHAPE, seed)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.8 if masked else None
    weight = weight if mask is None else weight * mask
    options = {"granularity": granularity, "threshold": threshold, "sparsity": 0.4}
    code, scales = ready("ternary", options, weight, 1, mask).code(weight, mask)
    integers = code.integers()
    parts = range(6) if granularity == "channel" else [slice(None)]
    for part, scale in zip(parts, scales, strict=True):
        w = weight.numpy()[:, part].astype(np.float64).reshape(-1)
        keep = np.ones(w.shape, bool) if mask is None else mask.numpy()[:, part].reshape(-1)
        sizes = np.abs(w[keep])
        delta = {"max": 0.05 * sizes.max(), "mean": 0.7 * sizes.mean(), "sparsity": np.sort(sizes)[round(0.4 * len(sizes))]}
        wanted = np.where((np.abs(w) >= delta[threshold] * (1 - 1e-7)) & keep, np.sign(w), 0)
        assert np.array_equal(integers[:, part].reshape(-1), wanted)
        assert scale == pytest.approx(np.abs(w[wanted != 0]).mean(), rel=1e-5)
    if threshold == "sparsity" and mask is None and granularity == "tensor":
        assert (integers == 0).mean() == pytest.approx(0.4, abs=0.01)


# Shares of zeros and SQNR of normal weights, computed independently before (0.05 · max needs millions of weights).
@pytest.mark.parametrize("threshold, zeros, ratio", [("max", 0.21, 6.04), ("mean", 0.42, 7.17)])
def test_normal_weights(threshold, zeros, ratio):
    weight = weights("normal", (256, 512, 4, 4))
    coder = ready("ternary", {"threshold": threshold}, weight)
    with torch.no_grad():
        made = coder(weight, None)
    assert (made == 0).float().mean().item() == pytest.approx(zeros, abs=0.015)
    noise = (made - weight).double().square().mean()
    assert 10 * torch.log10(weight.double().square().mean() / noise).item() == pytest.approx(ratio, abs=0.1)


def test_the_gradient_of_a_learned_scale_is_that_of_the_trits():
    weight = (0.5 * weights("normal", SHAPE)).requires_grad_()
    for granularity, count in (("tensor", 1), ("channel", 6)):
        coder = ready("ternary", {"granularity": granularity, "scale": "learned"}, weight.detach())
        assert coder.learned.shape == (count,)
        torch.testing.assert_close(coder.learned.detach(), coder.measured(weight.detach(), None)[1])
        outer = weights("normal", SHAPE, 3)
        weight.grad = None
        coder(weight, None).backward(outer)
        trits = torch.from_numpy(coder.code(weight.detach(), None)[0].integers())
        wanted = (trits * outer).sum((0, 2, 3))
        torch.testing.assert_close(coder.learned.grad, wanted if count == 6 else wanted.sum().reshape(1))
        assert torch.equal(weight.grad, torch.where(weight.abs() <= 1, outer, 0.0))


def test_a_learned_scale_leaves_its_start_and_is_exported():
    weight = weights("normal", SHAPE)
    coder = ready("ternary", {"scale": "learned"}, weight)
    with torch.no_grad():
        coder.learned.copy_(torch.tensor([0.123]))
    coder.refit(weight, None)
    assert coder.code(weight, None)[1] == pytest.approx(0.123)


@pytest.mark.parametrize("options, error, message", [
    ({"threshold": "median"}, ValueError, "^ternary threshold must be one of max, mean, sparsity, not 'median'$"),
    ({"sparsity": 1.0}, ValueError, "^ternary sparsity must be between 0 and 0.99, not 1$"),
    ({"sparsity": "half"}, TypeError, "^ternary sparsity must be a number, not 'half'$"),
    ({"scale": "mode"}, ValueError, "^ternary scale must be one of mean, learned, not 'mode'$"),
    ({"per_byte": 6}, ValueError, "^ternary per_byte must be 4 or 5, not 6$"),
    ({"scale": "learned", "granularity": "network"}, ValueError, "^ternary scale must be mean for granularity network"),
])  # fmt: skip
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        TernaryCoder(SHAPE, 1, **options)
