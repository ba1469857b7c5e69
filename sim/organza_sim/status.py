"""Headers and status registers of joints with managed exponents, as a simulation sees them and as the reference says."""

from __future__ import annotations

import numpy as np

from organza.exponents import MANTISSA_BITS
from organza.reference import Exponents
from organza_sim.beats import Beat
from organza_sim.rtl import Joint

__all__ = ["FIELDS", "STATUS_BEAT", "expected_status", "headers_of", "status_of", "with_headers", "without_headers"]

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


def _is_header(beats: int, image_beats: int) -> np.ndarray:
    """Which of some beats are headers; the last image need not be whole."""
    return np.arange(beats) % (image_beats + 1) == 0


def headers_of(recorded: Joint, image_beats: int) -> np.ndarray:
    """What the header of every image says, int64 (N, 1); −2**16 if it is none, with other channels or `last` set.

    A header stands in front of every `image_beats` beats of `recorded`.
    """
    chosen = _is_header(len(recorded.beats), image_beats)
    headers = recorded.beats[chosen]
    wrong = headers[:, 1:].any(1) | recorded.last[chosen]
    return np.where(wrong[:, None], -(1 << MANTISSA_BITS), headers[:, :1])


def without_headers(recorded: Joint, image_beats: int) -> Joint:
    """The other beats of `recorded`."""
    kept = ~_is_header(len(recorded.beats), image_beats)
    return Joint(recorded.beats[kept], recorded.last[kept], recorded.cycles[kept])
