"""Expectation maximisation: what it ends with is a rest point, found by brute force where that is possible."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.codes.line import STEPS, best_line, fit_line, mean_error, nearest_levels, range_line


@given(st.integers(1, 8), st.integers(0, 10_000), st.sampled_from([1e-9, 1.0, 1e6]))
def test_every_step_lowers_the_error(bits, seed, size):
    w = np.random.default_rng(seed).standard_t(3, 200) * size + size / 3
    top = (1 << bits) - 1
    errors = [fit_line(w, *range_line(w, top), top, steps)[0] for steps in range(12)]
    assert errors[0] == mean_error(w, *range_line(w, top), top)
    assert all(later <= earlier for earlier, later in itertools.pairwise(errors))
    assert best_line(w, top)[0] <= errors[-1] * (1 + 1e-6)


@given(st.integers(1, 3), st.integers(0, 10_000))
def test_the_end_is_a_rest_point(bits, seed):
    w = np.random.default_rng(seed).normal(size=60)
    top = (1 << bits) - 1
    error, alpha, beta = fit_line(w, *range_line(w, top), top)
    z = nearest_levels(w, alpha, beta, top)
    for level in range(top + 1):  # no weight is nearer to another level
        assert (np.abs(alpha * z + beta - w) <= np.abs(alpha * level + beta - w) + 1e-12).all()
    if z.var():
        slope, offset = np.polyfit(z, w, 1)  # no line is nearer to the weights
        assert ((slope * z + offset - w) ** 2).mean() >= error * (1 - 1e-5)


@given(st.integers(0, 10_000))
def test_one_bit_is_never_worse_than_trying_every_cut_from_the_same_side(seed):
    """The best two levels of sorted weights are the means on both sides of a cut; EM ends in one of those local optima."""
    w = np.sort(np.random.default_rng(seed).normal(size=30))
    error, alpha, beta = best_line(w, 1)
    cuts = [((w[:k] - w[:k].mean()) ** 2).sum() + ((w[k:] - w[k:].mean()) ** 2).sum() for k in range(1, 30)]
    assert error >= min(cuts) / 30 - 1e-12
    # A cut is a rest point if the middle of its means lies in it.
    ends = [
        cuts[k - 1] / 30 for k in range(1, 30) if w[k - 1] <= (w[:k].mean() + w[k:].mean()) / 2 <= w[k]
    ]
    assert min(abs(error - end) for end in ends) < 1e-6


# Least mean squared error of equally spaced levels for the normal distribution: Max, Quantizing for Minimum Distortion, 1960.
@pytest.mark.parametrize("bits, error, ranged", [(1, 0.3634, 10), (2, 0.1188, 6), (3, 0.03744, 3), (4, 0.01154, 2), (5, 0.003495, 1.5)])
def test_errors_on_normal_weights(bits, error, ranged):
    w = np.random.default_rng(0).normal(size=200_000)
    top = (1 << bits) - 1
    best = best_line(w, top)[0]
    assert best == pytest.approx(error, rel=0.012)  # EM ends a little before the optimum
    assert mean_error(w, *range_line(w, top), top) > ranged * best


@pytest.mark.parametrize("value", [0.0, 0.3, -1e-7, 5e4])
def test_one_value_has_a_line_through_it(value):
    w = np.full(7, value)
    error, alpha, _ = best_line(w, 3)
    assert error <= 1e-24 * max(value**2, 1e-30) and alpha > 0 and STEPS > 1
