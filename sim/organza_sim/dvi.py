"""A DVI receiver for recorded bits, written from the specification alone: Digital Visual Interface 1.0 (DDWG, 1999), section 3.3."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SYMBOL_BITS = 10
# Symbols for control bits 0 to 3, with the bit that comes first at the right.
CONTROL_SYMBOLS = np.array([0b1101010100, 0b0010101011, 0b0101010100, 0b1010101011])
# What section 3.3.1 lets a receiver take its word boundaries from comes once a line: this many control symbols in a row.
BLANK = 128
# VESA DMT ID 04h and CEA-861 VIC 1: total, first place of the sync, first place behind it, what is seen.
LINE, HSYNC, WIDTH = 800, (656, 752), 640
LINES, VSYNC, HEIGHT = 525, (490, 492), 480
BOUNDARY_BITS = 4 * LINE * SYMBOL_BITS


class DviError(Exception):
    """Bits are not what a receiver needs."""


class Received(NamedTuple):
    """Of one channel, an entry for each symbol: whether it is one of control, its control bits, its byte."""

    blank: np.ndarray
    control: np.ndarray
    byte: np.ndarray


def word_boundary(bits: np.ndarray) -> int:
    """Where in the first ten of bits (N,) a symbol begins: where control symbols come `BLANK` times in a row, within four lines.

    Raises `DviError` if they do not, or at several places.
    """
    found, bits = [], bits[:BOUNDARY_BITS]
    for start in range(SYMBOL_BITS):
        blank = np.isin(symbols(bits, start), CONTROL_SYMBOLS)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], blank, [0]])))
        if len(edges) and (edges[1::2] - edges[::2]).max() >= BLANK:
            found.append(start)
    if len(found) != 1:
        raise DviError(f"control symbols in a row begin at {found}, not at one place of {SYMBOL_BITS}")
    return found[0]


def symbols(bits: np.ndarray, start: int) -> np.ndarray:
    """Words of ten bits (N,) from one on, the first bit lowest; int64."""
    count = (len(bits) - start) // SYMBOL_BITS
    return bits[start : start + count * SYMBOL_BITS].reshape(count, SYMBOL_BITS).astype(np.int64) @ (1 << np.arange(SYMBOL_BITS))


def decode(words: np.ndarray) -> Received:
    """What symbols (N,) stand for: the decoder of figure 3-6."""
    plain = words & 255 ^ np.where(words >> 9 & 1, 255, 0)
    byte = (plain ^ plain << 1) & 255 ^ np.where(words >> 8 & 1, 0, 254)
    place = (words[:, None] == CONTROL_SYMBOLS).argmax(axis=1)
    return Received(np.isin(words, CONTROL_SYMBOLS), place, byte)


def check_clock(bits: np.ndarray) -> None:
    """Raises `DviError` if bits (N,) are not a clock of ten bits, five of which are ones, from the first that is a one on."""
    bits = bits[int(bits.argmax()) :]
    place = np.flatnonzero(bits != (np.arange(len(bits)) % SYMBOL_BITS < SYMBOL_BITS // 2))
    if len(place) or not len(bits):
        raise DviError(f"the clock is wrong at bit {place[:1]} of {len(bits)}")


def receive(bits: np.ndarray) -> np.ndarray:
    """Whole frames (F, 480, 640, 3) of red, green and blue, uint8, from bits (N, 4) of three channels and the clock.

    Every line of every frame has the lengths of 640×480 at 60 Hz and its syncs low where they should be, or `DviError` says where not.
    """
    check_clock(bits[:, 3])
    starts = [word_boundary(bits[:, k]) for k in range(3)]
    if len(set(starts)) != 1:
        raise DviError(f"channels begin their symbols at {starts}")
    channels = [decode(symbols(bits[:, k], starts[0])) for k in range(3)]
    blue = channels[0]
    if any((one.blank != blue.blank).any() for one in channels[1:]):
        raise DviError("channels are blank at different times")
    if any(one.control[blue.blank].any() for one in channels[1:]):
        raise DviError("channels 1 and 2 have control bits")
    first = _first_pixel(blue.blank)
    frames = (len(blue.blank) - first) // (LINE * LINES)
    shape = (frames, LINES, LINE)
    blank, control, *bytes_ = (
        one[first : first + frames * LINE * LINES].reshape(shape)
        for one in (blue.blank, blue.control, *(channel.byte for channel in reversed(channels)))
    )
    x, y = np.arange(LINE), np.arange(LINES)[:, None]
    _same("blank", blank, (x >= WIDTH) | (y >= HEIGHT), blank | True)
    _same("hsync", control & 1, (x < HSYNC[0]) | (x >= HSYNC[1]), blank)
    line = y + (x >= HSYNC[0])
    _same("vsync", control >> 1, (line < VSYNC[0]) | (line >= VSYNC[1]), blank)
    return np.stack(bytes_, axis=-1)[:, :HEIGHT, :WIDTH].astype(np.uint8)


def _first_pixel(blank: np.ndarray) -> int:
    """Where the first whole frame begins: behind the first blank time of more than a line."""
    ends = np.flatnonzero(np.diff(blank.astype(np.int8)) == -1) + 1
    begins = np.flatnonzero(np.diff(blank.astype(np.int8)) == 1) + 1
    for end in ends:
        before = begins[begins < end]
        if len(before) and end - before[-1] > LINE:
            return int(end)
    raise DviError("there is no whole frame")


def _same(name: str, found: np.ndarray, wanted: np.ndarray, where: np.ndarray) -> None:
    wrong = np.argwhere((found != wanted) & where)
    if len(wrong):
        frame, y, x = wrong[0]
        raise DviError(f"{name} is wrong in {len(wrong)} places, first in frame {frame}, line {y}, pixel {x}")
