"""Floating-point baselines: rounded as numpy rounds, counted, and never a code of the chip."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.compress.coders.floats import BFloat16Coder, Float16Coder, Float32Coder

SHAPE = (4, 6, 3, 2)


def bfloat16(values: np.ndarray) -> np.ndarray:
    """The upper half of float32, rounded to even."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    kept = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)
    return (kept.astype(np.uint32) << np.uint32(16)).view(np.float32)


@given(st.integers(0, 1000), st.sampled_from([1e-9, 1e-3, 1.0, 1e5]))
def test_rounding_is_numpys(seed, size):
    weight = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) * size
    values = weight.numpy()
    limit = np.float32(65504)
    for coder, wanted in (
        (Float32Coder(SHAPE, 1), values),
        (Float16Coder(SHAPE, 1), values.clip(-limit, limit).astype(np.float16).astype(np.float32)),
        (BFloat16Coder(SHAPE, 1), bfloat16(values)),
    ):
        assert np.array_equal(coder(weight, None).numpy(), wanted)


@pytest.mark.parametrize("coder, bits", [(Float32Coder, 32), (Float16Coder, 16), (BFloat16Coder, 16)])
def test_gradients_pass_and_bits_are_counted_but_nothing_is_made_for_the_chip(coder, bits):
    made = coder(SHAPE, 1)
    weight = torch.randn(SHAPE, requires_grad=True)
    made(weight, None).sum().backward()
    assert weight.grad is not None and (weight.grad == 1).all()
    assert made.stored_bits(weight, None) == 144 * bits and not made.chip
    with pytest.raises(ValueError, match=f"^{coder.kind} has no lanes on the chip"):
        made.coded(weight.detach(), None)
