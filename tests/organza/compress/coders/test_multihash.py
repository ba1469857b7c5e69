"""Structured multi-hashing: unit deviation at the start, the singular values of given weights, gradients of a product."""

import numpy as np
import pytest
import torch

from organza.codes import MultiHash
from organza.compress.coders.multihash import MultiHashCoder
from tests.organza.compress.coders.cases import ready, weights

SHAPE = (8, 6, 3, 4)


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_products_have_unit_deviation_and_the_layer_its_usual_one(factor):
    coder = MultiHashCoder((64, 32, 4, 4), 1, factor=factor, start="random", seed=3)
    products = (coder.base * (coder.left @ coder.right)).detach()
    assert products.std().item() == pytest.approx(1, abs=0.06)
    assert coder.scale.item() == pytest.approx((3 * 64 * 16) ** -0.5)
    assert coder(None, None).detach().std().item() == pytest.approx((3 * 64 * 16) ** -0.5, rel=0.1)
    stored = coder.left.numel() + coder.right.numel()
    assert stored <= 64 * 32 * 16 / factor + 2 * len(coder.left)


def test_it_starts_with_the_largest_singular_values():
    """No product of that size is nearer to the weights over their channels' sizes (Eckart and Young)."""
    weight = weights("normal", SHAPE)
    coder = ready("multihash", {"factor": 3}, weight)
    scaled = np.zeros(24 * 24)
    scaled[:] = (weight / coder.spread(coder.unit)).numpy().reshape(-1)
    u, s, v = np.linalg.svd(scaled.reshape(24, 24))
    m = coder.left.shape[1]
    best = (u[:, :m] * s[:m]) @ v[:m]
    assert (coder.scale * coder.base * (coder.left @ coder.right)).detach().numpy() == pytest.approx(best, abs=1e-4)
    torch.testing.assert_close(coder.unit, (weight.square().mean((0, 2, 3)) / weight.square().mean()).sqrt())
    entries = torch.cat([coder.left.detach().reshape(-1), coder.right.detach().reshape(-1)])
    assert entries.square().mean().sqrt().item() == pytest.approx(weight.square().mean().sqrt().item(), rel=1e-4)


@pytest.mark.parametrize("learn", [True, False])
def test_gradients_are_those_of_the_product(learn):
    coder = ready("multihash", {"factor": 3, "learn_scale": learn}, weights("normal", SHAPE))
    with torch.no_grad():
        coder.scale.fill_(1.7)
    outer = weights("normal", SHAPE, 1)
    coder(None, None).backward(outer)
    left, right, scale = (p.detach().double().requires_grad_() for p in (coder.left, coder.right, coder.scale))
    product = (left @ right).reshape(-1)[:576].reshape(SHAPE) * coder.unit.double().reshape(1, 6, 1, 1) * scale * coder.base.double()
    product.backward(outer.double())
    torch.testing.assert_close(coder.left.grad.double(), left.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.right.grad.double(), right.grad, rtol=1e-4, atol=1e-4)
    assert coder.scale.requires_grad == learn
    if learn:
        torch.testing.assert_close(coder.scale.grad.double(), scale.grad, rtol=1e-4, atol=1e-4)


def test_the_chips_rounding_stays_near_the_product():
    coder = ready("multihash", {"factor": 2}, weights("normal", (16, 12, 4, 4)))
    real = (coder.left @ coder.right).detach().reshape(-1)[:3072].reshape(16, 12, 4, 4) * coder.spread(coder.unit)
    real *= (coder.scale * coder.base).detach()
    wrong = (coder(None, None) - real).square().mean() / real.square().mean()
    assert wrong < 0.005
    assert isinstance(coder.code(None, None)[0], MultiHash)


def test_a_scale_may_turn():
    coder = ready("multihash", {}, weights("normal", SHAPE))
    before, scale = coder(None, None).detach(), coder.scale.detach().clone()
    for sign in (-1, 0):
        with torch.no_grad():
            coder.scale.copy_(sign * scale)
        torch.testing.assert_close(coder(None, None).detach(), sign * before, rtol=1e-5, atol=1e-25)
        assert (coder.coded(None, None).scales != 0).all()


@pytest.mark.parametrize("options, error, message", [
    ({"factor": 0}, ValueError, "^multihash factor must be between 1 and"),
    ({"start": "ones"}, ValueError, "^multihash start must be one of weights, random, not 'ones'$"),
    ({"learn_scale": None}, TypeError, "^multihash learn_scale must be true or false, not None$"),
])  # fmt: skip
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        MultiHashCoder(SHAPE, 1, **options)
