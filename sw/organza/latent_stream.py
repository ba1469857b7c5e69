"""Latents that a board draws by itself, and software just so: a shift-register generator and a table of normal quantiles.

An integer of a tensor takes one step of xorshift32 with the shifts 13, 17, 5 (Marsaglia, Xorshift RNGs, 2003), whose highest eight
bits choose one of 256 equally likely values of a standard normal distribution, in the format of the tensor. Integers are drawn
in raster order, row, column, channel, image after image.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from organza.checks import check_integer
from organza.formats import Format

STATE_BITS, INDEX_BITS = 32, 8
_MASK = (1 << STATE_BITS) - 1


def quantiles(form: Format) -> np.ndarray:
    """The table: integers of a format at the middles of 256 equal parts of a standard normal distribution; int64."""
    entries = 1 << INDEX_BITS
    return form.quantize(np.array([NormalDist().inv_cdf((k + 0.5) / entries) for k in range(entries)]))


def state_of(seed: int) -> int:
    """State to begin with; neighbouring seeds' have nothing in common. MurmurHash3's finaliser (Appleby), which is one to one."""
    check_integer("Seed", seed, 0, _MASK - 1)
    x = seed + 1
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ((x ^ x >> shift) * factor) & _MASK
    return x ^ x >> 16


def step(state: int) -> int:
    """The next state; never 0 if this one is not."""
    state = (state ^ state << 13) & _MASK
    state ^= state >> 17
    return (state ^ state << 5) & _MASK


def draw(form: Format, shape: tuple[int, int, int], images: int, seed: int) -> np.ndarray:
    """Integers (images, channels, height, width) of a format from a seed; int64."""
    return draw_from(form, shape, images, state_of(seed))


def draw_from(form: Format, shape: tuple[int, int, int], images: int, state: int) -> np.ndarray:
    """The same from a state, which is not 0."""
    channels, height, width = shape
    indices = np.empty(images * channels * height * width, np.int64)
    for place in range(len(indices)):
        state = step(state)
        indices[place] = state >> (STATE_BITS - INDEX_BITS)
    return quantiles(form)[indices].reshape(images, height, width, channels).transpose(0, 3, 1, 2)
