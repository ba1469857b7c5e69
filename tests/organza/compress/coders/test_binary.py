"""Binary weights: the scale of least squared error, ApGAN's gate, and ternary where weights are pruned."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.compress.coders.binary import BinaryCoder
from tests.organza.compress.coders.cases import ready, real, weights

SHAPE = (4, 6, 3, 2)


@given(st.integers(0, 1000), st.sampled_from(["tensor", "channel"]))
def test_the_mean_magnitude_is_the_best_scale_for_signs(seed, granularity):
    weight = weights("normal", SHAPE, seed)
    coder = ready("binary", {"granularity": granularity}, weight)
    code, scales = coder.code(weight, None)
    assert np.array_equal(code.integers(), np.where(weight.numpy() < 0, -1, 1)) and code.kind == "binary"
    rows = weight.transpose(0, 1).reshape(6, -1).double() if granularity == "channel" else weight.reshape(1, -1).double()
    for row, scale in zip(rows, scales, strict=True):
        # least squares: signs against magnitudes
        best = np.linalg.lstsq(torch.sign(row).numpy()[:, None], row.numpy(), rcond=None)[0][0]
        assert scale == pytest.approx(best, rel=1e-5)


def test_no_gradient_beyond_one():
    weight = torch.tensor([-1.5, -1.0, -0.2, 0.0, 0.9, 1.1]).reshape(1, 6, 1, 1).requires_grad_()
    BinaryCoder((1, 6, 1, 1), 1)(weight, None).backward(torch.full((1, 6, 1, 1), 3.0))
    assert weight.grad.reshape(-1).tolist() == [0, 3, 3, 3, 3, 0]


def test_pruned_weights_make_ternary_ones_with_the_mean_of_the_others():
    weight = weights("normal", SHAPE)
    mask = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5
    code, scales = BinaryCoder(SHAPE, 1).code(weight * mask, mask)
    assert code.kind == "ternary"
    assert np.array_equal(code.integers(), np.sign(weight.numpy()) * mask.numpy())
    assert scales == pytest.approx(weight[mask].abs().mean().item(), rel=1e-6)


def test_zeros_count_as_positive():
    coder = ready("binary", {}, torch.zeros(SHAPE))
    assert (coder.coded(torch.zeros(SHAPE), None).code.integers() == 1).all()
    assert real(coder, torch.zeros(SHAPE), None).abs().max() < 1e-29


@pytest.mark.parametrize("ti, wanted", [(8, 4), (3, 3)])
def test_the_chip_may_add_approximately(ti, wanted):
    weight = weights("normal", SHAPE)
    coder = ready("binary", {"adder": "loa3", "ti": ti}, weight)
    code, _ = coder.code(weight, None)
    assert str(code.adder) == "loa3" and code.ti == wanted
    assert str(coder.spec()).startswith("binary:loa3")
    with pytest.raises(ValueError, match="^binary adder must be exact for pruned weights, not loa3$"):
        coder.code(weight * (weight > 0), weight > 0)


@pytest.mark.parametrize("options, error, message", [
    ({"adder": "ripple"}, ValueError, "^adder must be one of exact, loa, notcarry, not 'ripple'$"),
    ({"adder": 3}, TypeError, "^adder must be text, not 3$"),
    ({"ti": 0}, ValueError, "^binary ti must be between 1 and"),
])  # fmt: skip
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        BinaryCoder(SHAPE, 1, **options)
