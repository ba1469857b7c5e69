"""Powers of two: the nearest exponent, nothing below the smallest, and hand-made examples."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.compress.coders.log import LogCoder
from tests.organza.compress.coders.cases import ready, weights


def test_by_hand():
    weight = torch.tensor([8.0, -6, 5, 3, -1.5, 1, 0.72, 0.7, 0]).reshape(1, 9, 1, 1)
    code, scales = ready("log", {"bits": 3}, weight).code(weight, None)
    assert code.integers().reshape(-1).tolist() == [4, -4, 2, 2, -1, 0, 0, 0, 0] and scales.tolist() == [2]
    code, scales = ready("log", {"bits": 4}, weight).code(weight, None)
    assert code.integers().reshape(-1).tolist() == [64, -64, 32, 32, -16, 8, 8, 4, 0] and scales.tolist() == [0.125]
    code, scales = ready("log", {"bits": 1}, weight).code(weight, None)
    assert code.integers().reshape(-1).tolist() == [1, -1, 1, 1, -1, 1, 1, 1, 1] and scales.tolist() == [8]


@given(st.integers(2, 5), st.integers(0, 1000), st.sampled_from(["tensor", "channel"]))
def test_the_exponent_is_the_nearest(bits, seed, granularity):
    weight = weights("normal", (4, 6, 3, 2), seed)
    code, scales = ready("log", {"bits": bits, "granularity": granularity}, weight).code(weight, None)
    assert code.bits == bits
    ratio = np.abs(weight.numpy().astype(np.float64)) / scales.reshape(-1, 1, 1)
    made = np.abs(code.integers())
    assert np.array_equal(made == 0, np.log2(ratio) < -0.5)
    off = np.abs(np.log2(ratio[made > 0]) - np.log2(made[made > 0]))
    assert off.max() <= 0.5 + 1e-6
    assert made.max() == code.magnitude


def test_gradients_pass_straight_through():
    weight = weights("normal", (4, 6, 3, 2)).requires_grad_()
    outer = weights("normal", (4, 6, 3, 2), 1)
    LogCoder((4, 6, 3, 2), 1)(weight, None).backward(outer)
    assert torch.equal(weight.grad, outer)


@pytest.mark.parametrize("bits, error", [(0, ValueError), (6, ValueError), (2.5, TypeError)])
def test_wrong_bits(bits, error):
    with pytest.raises(error, match="^log bits must be"):
        LogCoder((4, 6, 3, 2), 1, bits=bits)
