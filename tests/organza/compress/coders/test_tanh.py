"""The tanh law: DoReFa's rounding of tanh(w), in doubles, and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.compress.coders.tanh import TanhCoder
from tests.organza.compress.coders.cases import ready, real, weights


@given(st.integers(1, 8), st.integers(0, 1000), st.sampled_from([0.1, 1.0, 2.0]))
def test_steps_are_those_of_the_formula(bits, seed, size):
    weight = size * weights("normal", (4, 6, 3, 2), seed)
    made = real(ready("tanh", {"bits": bits}, weight), weight, None).double().numpy()
    w = weight.double().numpy()
    largest = np.abs(np.tanh(w)).max()
    steps = (1 << bits) - 1
    part = (np.tanh(w) / (2 * largest) + 0.5) * steps
    dorefa = 2 * np.round(part) / steps - 1
    clear = np.abs(part - np.floor(part) - 0.5) > 1e-3  # not between two steps
    step = np.abs(w).max() / 127  # centroids have 8 bits
    assert np.abs(made - np.arctanh(dorefa * largest))[clear].max() <= step / 2 * (1 + 1e-3)


def test_a_mask_gives_an_odd_number_of_steps_with_zero():
    weight = weights("normal", (4, 6, 3, 2))
    mask = weight > 0
    for bits, count in ((1, 3), (2, 3), (4, 15)):
        code, _ = ready("tanh", {"bits": bits}, weight, 1, mask).code(weight * mask, mask)
        assert len(code.centroids) <= count and not code.integers()[~mask.numpy()].any()


def test_large_and_small_weights_keep_a_law():
    for size in (1e-6, 1e6):
        weight = size * weights("normal", (4, 6, 3, 2))
        coder = ready("tanh", {"bits": 4}, weight)
        made = real(coder, weight, None)
        assert made.abs().max() == pytest.approx(weight.abs().max().item(), rel=1e-6)
        assert len(made.unique()) > 8


@pytest.mark.parametrize("options, error", [({"bits": 9}, ValueError), ({"bits": True}, TypeError)])
def test_wrong_options(options, error):
    with pytest.raises(error, match="^tanh bits must be"):
        TanhCoder((4, 6, 3, 2), 1, **options)


def test_gradients_pass_straight_through():
    weight = weights("normal", (4, 6, 3, 2)).requires_grad_()
    ready("tanh", {}, weight.detach())(weight, None).backward(weights("normal", (4, 6, 3, 2), 1))
    assert torch.equal(weight.grad, weights("normal", (4, 6, 3, 2), 1))
