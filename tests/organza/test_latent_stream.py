"""Latents that a board draws: published vectors of the parts, and that together they are normally distributed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.formats import Fixed
from organza.latent_stream import draw, quantiles, state_of, step


def test_xorshift_of_the_paper() -> None:
    """What the C program in Marsaglia's paper prints for its own seed."""
    state, seen = 2463534242, []
    for _ in range(3):
        state = step(state)
        seen.append(state)
    assert seen == [723471715, 2497366906, 2064144800]


def test_states_of_seeds() -> None:
    """MurmurHash3's finaliser of 1, as its reference code computes it; all different, never 0."""
    assert state_of(0) == 0x514E28B7
    states = [state_of(seed) for seed in range(10_000)]
    assert len(set(states)) == len(states) and 0 not in states


@given(st.integers(0, (1 << 32) - 2))
def test_no_seed_ends_in_zero(seed: int) -> None:
    assert 0 < step(state_of(seed)) < 1 << 32


@pytest.mark.parametrize("seed", [-1, (1 << 32) - 1])
def test_wrong_seeds(seed: int) -> None:
    with pytest.raises(ValueError, match=f"^Seed must be between 0 and 4294967294, not {seed}$"):
        state_of(seed)


def test_quantiles_are_those_of_the_distribution() -> None:
    """Half of a part on both sides of zero, and as far out as 255.5 of 256 parts: 2.66 deviations, by the error function."""
    form = Fixed(16, True, 1 / 4096)
    values = form.dequantize(quantiles(form))
    assert np.all(np.diff(values) > 0) and np.array_equal(values, -values[::-1])
    for k in (0, 100, 255):
        assert 0.5 * (1 + math.erf(values[k] / math.sqrt(2))) == pytest.approx((k + 0.5) / 256, abs=1e-4)


def test_latents_are_normal_and_those_of_neighbours_differ() -> None:
    form = Fixed(8, True, 1 / 32)
    q = draw(form, (16, 2, 2), 100, seed=3)
    values = form.dequantize(q).ravel()
    assert q.shape == (100, 16, 2, 2) and form.holds(q)
    assert abs(values.mean()) < 3 / math.sqrt(values.size) and values.std() == pytest.approx(1, abs=0.03)
    other = form.dequantize(draw(form, (16, 2, 2), 100, seed=4)).ravel()
    assert abs(np.corrcoef(values, other)[0, 1]) < 3 / math.sqrt(values.size)
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 3 / math.sqrt(values.size)


def test_images_follow_each_other_in_raster_order() -> None:
    form = Fixed(8, True, 1 / 32)
    flat = draw(form, (24, 1, 1), 1, seed=9)[0, :, 0, 0]
    assert np.array_equal(draw(form, (3, 2, 2), 2, seed=9).transpose(0, 2, 3, 1).ravel(), flat)
