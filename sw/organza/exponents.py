"""Exponents of flexpoint tensors, and the rule by which a chip picks that of the next image.

Flexpoint (Köster et al., NIPS 2017) has 16-bit mantissas and one exponent of 5 bits a tensor. Their Autoflex predicts it with
mean and deviation of the last maxima (`organza.autoflex`); `ExponentRule` is what an accelerator can afford between two images:
bit lengths and comparisons. `organza_hw.exponents` makes the same rule in gateware.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MANTISSA_BITS = 16
EXPONENT_BITS = 5
LEAST_EXPONENT = 1 - (1 << EXPONENT_BITS)  # full scale from 2**-16 to 2**15
MOST_WINDOW = 16
MOST_DELAY = 16
MOST_HEADROOM = 4

# Exponents that the latest images asked for, newest first.
History = tuple[int, ...]


def check_exponent(name: str, exponent: object) -> None:
    """TypeError unless `exponent` is an integer, ValueError unless 5 bits hold it: −31…0."""
    if isinstance(exponent, bool) or not isinstance(exponent, int):
        raise TypeError(f"{name} must be an integer, not {exponent!r}")
    if not LEAST_EXPONENT <= exponent <= 0:
        raise ValueError(f"{name} must be between {LEAST_EXPONENT} and 0 ({EXPONENT_BITS} bits), not {exponent}")


def covering_exponent(peak: float, *, headroom: float) -> int:
    """Smallest exponent at which `headroom` * `peak` ≥ 0 is still a mantissa of 16 bits; with less room if there is none.

    Raises ValueError for a peak beyond the exponent's 5 bits.
    """
    if not peak:
        return LEAST_EXPONENT
    if peak >= 1 << (MANTISSA_BITS - 1):
        raise ValueError(f"flexpoint values must stay below {1 << (MANTISSA_BITS - 1)}, not reach {peak:g}")
    # frexp: reach = f * 2**e with f < 1, so that reach / 2**(e - 15) < 2**15.
    exponent = int(np.frexp(headroom * peak)[1]) - (MANTISSA_BITS - 1)
    return min(max(exponent, LEAST_EXPONENT), 0)


def excess_bits(smallest: int, largest: int) -> int:
    """Bits by which the widest of the values `smallest` … `largest` is wider than a mantissa; 0 if all are mantissas."""
    width = max((~value if value < 0 else value).bit_length() for value in (int(smallest), int(largest)))
    return max(width - (MANTISSA_BITS - 1), 0)


@dataclass(frozen=True, kw_only=True)
class ExponentRule:
    """The exponent of a tensor's next image from the maxima of its last ones.

    An image asks for the smallest exponent at which 2**`headroom` times its largest value is a mantissa. The next image gets
    the largest exponent that any of `window` images asked for. Values that were clamped count as what they were before,
    which the requantiser knows: one image is enough to recover from an overflow of any size.

    Parameters
    ----------
    initial : exponent before anything was seen. low, high : limits, within −31…0.
    window : images that count, 1…16.
    delay : d ≥ 1, up to 16: the exponent of image n + 1 rests on images up to n − d. With 1 an engine that makes image n + 1
        while image n is still on its way through the requantiser never waits.
    headroom : bits, 0…4; 1 is Autoflex's alpha = 2.

    Raises TypeError / ValueError for values of the wrong kind or out of range.
    """

    initial: int
    low: int = LEAST_EXPONENT
    high: int = 0
    window: int = 4
    delay: int = 1
    headroom: int = 1

    def __post_init__(self) -> None:
        for name in ("initial", "low", "high"):
            check_exponent(f"Exponent rule {name}", getattr(self, name))
        for name, least, most in (("window", 1, MOST_WINDOW), ("delay", 1, MOST_DELAY), ("headroom", 0, MOST_HEADROOM)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Exponent rule {name} must be an integer, not {value!r}")
            if not least <= value <= most:
                raise ValueError(f"Exponent rule {name} must be between {least} and {most}, not {value}")
        if not self.low <= self.initial <= self.high:
            raise ValueError(
                f"Exponent rule initial must be between its low and high, {self.low}…{self.high}, not {self.initial}"
            )

    def start(self) -> History:
        """The history before the first image: as if all had asked for `initial`."""
        return (self.initial,) * (self.delay + self.window)

    def next(self, history: History, low: int = LEAST_EXPONENT, high: int = 0) -> int:
        """The exponent of the image that follows `history`, held between `low` and `high` too."""
        return min(max(max(history[self.delay :]), low), high)

    def wanted(self, exponent: int, peak: int, excess: int) -> int:
        """What an image asks for that was made with `exponent`: `peak` is its max|m|, `excess` see `excess_bits`."""
        length = MANTISSA_BITS - 1 + excess if excess else int(peak).bit_length()
        return min(max(exponent + length + self.headroom - (MANTISSA_BITS - 1), self.low), self.high)

    def after(self, history: History, wanted: int) -> History:
        """The history with one image more."""
        return wanted, *history[:-1]

    def check(self, history: object) -> None:
        """TypeError / ValueError unless `history` is one of this rule."""
        if not isinstance(history, tuple) or any(isinstance(e, bool) or not isinstance(e, int) for e in history):
            raise TypeError(f"Exponent history must be a tuple of integers, not {history!r}")
        if len(history) != self.delay + self.window:
            raise ValueError(f"Exponent history must have {self.delay + self.window} entries, not {len(history)}")
        if min(history) < self.low or max(history) > self.high:
            raise ValueError(f"Exponent history must be between {self.low} and {self.high}, not {history}")

    def ideal(self, maxima: Sequence[float]) -> int:
        """What `next` approximates, in real arithmetic: the smallest exponent with that headroom over the last `maxima`."""
        reach = max(maxima)
        wanted = LEAST_EXPONENT - 1 if not reach else math.frexp(reach)[1] + self.headroom - (MANTISSA_BITS - 1)
        return min(max(wanted, self.low), self.high)
