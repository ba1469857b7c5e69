"""Headers and status registers of joints with managed exponents, as a simulation sees them and as the reference says."""

from __future__ import annotations

import numpy as np

from organza.exponents import MANTISSA_BITS
from organza.reference import Exponents
from organza_sim.beats import Beat
from organza_sim.rtl import Joint

__all__ = ["FIELDS", "STATUS_BEAT", "expected_status", "split_headers", "status_of", "with_headers"]

# `organza_hw.exponents.STATUS` as a beat of three numbers, whose `last` is the overflow flag.
STATUS_BEAT = Beat(3, 16, False)
FIELDS = ("exponent", "peak", "overflow", "overflows")


def expected_status(exponents: Exponents) -> np.ndarray:
    """What the status registers say after every image since reset: int64 (N, 4), columns `FIELDS`."""
    counts = np.cumsum(exponents.overflow) % (1 << 16)
    return np.stack([exponents.exponent, exponents.peak, exponents.overflow, counts], 1).astype(np.int64)


def status_of(recorded: Joint) -> np.ndarray:
    """What passed a status stream, with the columns of `expected_status`."""
    peak, exponent, overflows = recorded.beats.T
    exponent = exponent - (exponent >> (MANTISSA_BITS - 1) << MANTISSA_BITS)
    return np.stack([exponent, peak, recorded.last, overflows], 1).astype(np.int64)


def with_headers(beats: np.ndarray, last: np.ndarray, exponents: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Beats (B, n) and `last` flags of whole images with a header beat in front of each; as they are without `exponents`."""
    if exponents is None:
        return beats, last
    images, n = len(exponents), beats.shape[1]
    headers = np.zeros((images, 1, n), beats.dtype)
    headers[:, 0, 0] = exponents
    made = np.concatenate([headers, beats.reshape(images, -1, n)], 1)
    flags = np.concatenate([np.zeros((images, 1), bool), last.reshape(images, -1)], 1)
    return made.reshape(-1, n), flags.reshape(-1)


def split_headers(beats: np.ndarray, image_beats: int) -> tuple[np.ndarray, np.ndarray]:
    """Header beats (N, n) and other beats of a stream with a header in front of every `image_beats` beats."""
    images = beats.reshape(-1, image_beats + 1, beats.shape[1])
    return images[:, 0], images[:, 1:].reshape(-1, beats.shape[1])
