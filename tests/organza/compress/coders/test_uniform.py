"""Uniform quantisation: nearest level, straight gradients, the same integers in the code."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.compress.coders.uniform import QmganCoder, SlimmingCoder, UniformCoder
from tests.organza.compress.coders.cases import ready, weights


@given(st.integers(2, 16), st.sampled_from(["channel", "tensor"]), st.sampled_from([1, 2]), st.integers(0, 1000))
def test_made_weights_are_integers_times_scales_and_nearest(bits, granularity, groups, seed):
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    coder = UniformCoder((4, 3, 2, 2), groups, bits=bits, granularity=granularity)
    coded = coder.coded(weight, None)
    scales = torch.from_numpy(coded.scales).reshape(groups, 1, 3, 1, 1)
    integers = torch.from_numpy(coded.code.integers()).reshape(groups, 4 // groups, 3, 2, 2)
    made = (integers * scales).reshape(4, 3, 2, 2)
    torch.testing.assert_close(coder(weight, None).double(), made, rtol=1e-6, atol=1e-7)
    step = scales.expand(groups, 4 // groups, 3, 2, 2).reshape(4, 3, 2, 2)
    assert ((made - weight).abs() <= step / 2 * (1 + 1e-5)).all()
    assert np.abs(coded.code.integers()).max() == (1 << (bits - 1)) - 1
    if granularity == "tensor":
        assert len(set(coded.scales)) == 1


def test_gradients_pass_straight_through():
    weight = torch.randn(4, 3, 2, 2, requires_grad=True)
    (UniformCoder((4, 3, 2, 2), 1, bits=2)(weight, None) * torch.arange(48.0).reshape(4, 3, 2, 2)).sum().backward()
    assert torch.equal(weight.grad, torch.arange(48.0).reshape(4, 3, 2, 2))


@pytest.mark.parametrize("options, error, message", [
    ({"bits": 1}, ValueError, "^uniform bits must be between 2 and 16, not 1$"),
    ({"bits": "8"}, TypeError, "^uniform bits must be an integer, not '8'$"),
    ({"granularity": "pixel"}, ValueError, "^uniform granularity must be one of channel, tensor, network, not 'pixel'$"),
])  # fmt: skip
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        UniformCoder((4, 3, 2, 2), 1, **options)


def test_qmgan_has_one_scale_for_the_network():
    parts = [weights("normal", (4, 3, 2, 2), k) * size for k, size in enumerate((1, 5, 0.1))]
    for bits in (1, 2, 4, 6, 8, 16):
        coder = QmganCoder((4, 3, 2, 2), 1, bits=bits)
        coder.fit(parts, [None] * 3)
        everything = torch.cat(parts).abs()
        wanted = everything.mean() if bits == 1 else everything.max() / ((1 << (bits - 1)) - 1)
        code, scales = coder.code(parts[0], None)
        assert scales.tolist() == pytest.approx([float(wanted)]) and code.field_bits == bits
        assert code.kind == ("binary" if bits == 1 else "linear")


def test_gan_slimming_is_the_largest_over_127_and_activations_end_at_4():
    weight = weights("normal", (4, 3, 2, 2))
    code, scales = ready("slimming", {}, weight).code(weight, None)
    assert scales.tolist() == pytest.approx([weight.abs().max().item() / 127]) and code.bits == 8
    grid = SlimmingCoder((4, 3, 2, 2), 1).grid(8, False).train()
    made = grid(torch.tensor([-1.0, 0.01, 1.0, 3.99, 7.0]))
    assert made.tolist() == pytest.approx([0, 4 / 255, 64 * 4 / 255, 254 * 4 / 255, 4], rel=1e-6)
    assert grid.format.scale == pytest.approx(4 / 255)
