"""Ranges that are running means: by hand, clipped gradients, and scales that folding leaves exact."""

import numpy as np
import pytest
import torch

from organza.compress.coders.jacob import JacobCoder
from tests.organza.compress.coders.cases import ready, weights


def test_the_range_follows_in_training_only():
    weight = torch.tensor([[1.0, -4.0], [3.0, 0.5]]).reshape(2, 2, 1, 1)
    coder = ready("jacob", {"momentum": 0.25}, weight)
    assert coder.peak.tolist() == [3, 4]
    coder(2 * weight, None)
    assert coder.peak.tolist() == [3, 4]
    coder.train()(2 * weight, None)
    assert coder.peak.tolist() == [3.75, 5]
    coder.refit(weight, None)
    assert coder.peak.tolist() == [3.75, 5]


def test_rounding_and_gradients_end_at_the_range():
    weight = torch.tensor([1.0, -2.0, 0.3, 0.26]).reshape(4, 1, 1, 1)
    coder = ready("jacob", {"bits": 3, "granularity": "tensor"}, weight)
    larger = torch.tensor([1.0, -3.0, 2.5, -0.4]).reshape(4, 1, 1, 1).requires_grad_()
    made = coder(larger, None)
    assert made.reshape(-1).tolist() == pytest.approx([4 / 3, -2, 2, -2 / 3])
    made.sum().backward()
    assert larger.grad.reshape(-1).tolist() == [1, 0, 0, 1]


def test_scales_of_channels_make_folding_exact():
    """Rounded weights times a channel's factor are the rounded products."""
    weight, factors = weights("normal", (4, 6, 3, 2)), torch.rand(6) + 0.5
    spread = factors.reshape(1, 6, 1, 1)
    first, second = ready("jacob", {}, weight), ready("jacob", {}, weight * spread)
    assert np.array_equal(first.code(weight, None)[0].integers(), second.code(weight * spread, None)[0].integers())


def test_activations_have_running_ranges():
    grid = JacobCoder((1, 1, 1, 1), 1).grid(8, False)
    grid.train()(torch.tensor([1.0]))
    grid(torch.tensor([2.0]))
    assert float(grid.peak) == pytest.approx(1.01)


@pytest.mark.parametrize("options, error", [({"bits": 1}, ValueError), ({"momentum": 0.0}, ValueError), ({"momentum": "x"}, TypeError)])
def test_wrong_options(options, error):
    with pytest.raises(error, match="^jacob (bits|momentum) must be"):
        JacobCoder((1, 1, 1, 1), 1, **options)
