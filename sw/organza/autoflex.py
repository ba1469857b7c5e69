"""Autoflex: the exponent of a flexpoint tensor, predicted from the largest mantissas of its last values.

Köster et al., Flexpoint: An Adaptive Numerical Format for Efficient Training of Deep Neural Networks, NIPS 2017: algorithm 1
(initialisation) and algorithm 2 (scale of the next value). Every tensor has its own statistics in every use, forward and
backward. They see one number a value, max|m|, so any array library can feed them:

    mantissas = clamp(round(x / 2**flex.exponent))
    flex.update(max(abs(mantissas)))           # flex.exponent is now the one of the next value

What a chip does with less arithmetic is `organza.exponents`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from organza.exponents import LEAST_EXPONENT, MANTISSA_BITS

MOST_MEASUREMENTS = 16


@dataclass(frozen=True, kw_only=True)
class AutoflexSettings:
    """The knobs of Autoflex, with the paper's values.

    bits : of a mantissa, N. window : values that the statistics remember, l.
    alpha, beta, gamma : headroom factor, standard deviations, and constant in steps of a mantissa.
    low, high : smallest and largest exponent; the defaults are those of 5 bits in Organza's formats.

    Raises TypeError / ValueError for numbers of the wrong kind or out of range.
    """

    bits: int = MANTISSA_BITS
    window: int = 16
    alpha: float = 2.0
    beta: float = 3.0
    gamma: float = 100.0
    low: int = LEAST_EXPONENT
    high: int = 0

    def __post_init__(self) -> None:
        for name, least in (("bits", 4), ("window", 1), ("low", None), ("high", None)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Autoflex {name} must be an integer, not {value!r}")
            if least is not None and value < least:
                raise ValueError(f"Autoflex {name} must be at least {least}, not {value}")
        for name, least in (("alpha", 1), ("beta", 0), ("gamma", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"Autoflex {name} must be a number, not {value!r}")
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"Autoflex {name} must be finite and at least {least}, not {value}")
        if self.low > self.high:
            raise ValueError(f"Autoflex low must not exceed high, not {self.low} > {self.high}")

    @property
    def top(self) -> int:
        """Largest mantissa; max|m| from there on is an overflow, because it may have been clamped."""
        return (1 << (self.bits - 1)) - 1

    def held(self, exponent: int) -> int:
        """The nearest exponent that there is."""
        return min(max(exponent, self.low), self.high)


class Autoflex:
    """Statistics of one tensor in one use.

    Attributes
    ----------
    exponent : of the next value; real = mantissa * 2**exponent.
    overflowed : the latest value reached the largest mantissa. overflows : how many did.
    clamped : the exponent that was wanted is outside `low` … `high`.

    Raises TypeError / ValueError for an exponent that is no integer or outside `low` … `high`.
    """

    def __init__(self, exponent: int, settings: AutoflexSettings | None = None) -> None:
        self.settings = settings or AutoflexSettings()
        if isinstance(exponent, bool) or not isinstance(exponent, int):
            raise TypeError(f"Autoflex exponent must be an integer, not {exponent!r}")
        if exponent != self.settings.held(exponent):
            raise ValueError(
                f"Autoflex exponent must be between {self.settings.low} and {self.settings.high}, not {exponent}"
            )
        self.exponent = exponent
        self.overflowed = self.clamped = False
        self.overflows = 0
        self._maxima: deque[float] = deque(maxlen=self.settings.window)  # real, the paper's f

    @property
    def maxima(self) -> tuple[float, ...]:
        """Real maxima that the next exponent rests on, oldest first."""
        return tuple(self._maxima)

    def update(self, peak: int) -> int:
        """Take max|m| of a value that was made with `exponent`; the exponent of the next one (algorithm 2).

        An overflow clears the memory and counts twice its maximum. The deviation is that of the population.
        Raises TypeError / ValueError for a `peak` that is no integer or that no mantissa has.
        """
        if isinstance(peak, bool) or not hasattr(peak, "__index__"):
            raise TypeError(f"Autoflex peak must be an integer, not {peak!r}")
        settings, peak = self.settings, peak.__index__()
        if not 0 <= peak <= settings.top + 1:
            raise ValueError(f"Autoflex peak must be between 0 and {settings.top + 1}, not {peak}")
        self.overflowed = peak >= settings.top
        if self.overflowed:
            self.overflows += 1
            self._maxima.clear()
            peak *= 2
        self._maxima.append(math.ldexp(peak, self.exponent))
        mean = math.fsum(self._maxima) / len(self._maxima)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in self._maxima) / len(self._maxima))
        constant = settings.gamma * math.ldexp(1, self.exponent)
        reach = settings.alpha * (max(self._maxima) + settings.beta * deviation + constant)
        wanted = _log2_up(reach) - settings.bits + 1 if reach else settings.low - 1
        self.exponent = settings.held(wanted)
        self.clamped = self.exponent != wanted
        return self.exponent

    @classmethod
    def initialised(cls, measure: Callable[[int], int], settings: AutoflexSettings | None = None) -> Autoflex:
        """Statistics with a first exponent found by making the tensor a few times (algorithm 1).

        measure : makes the tensor with an exponent and returns its max|m|. Two or three calls are usual; they end when
            the mantissas use their bits, at `low` or `high` (then `clamped`), or after 16.
        """
        made = cls((settings or AutoflexSettings()).held(0), settings)
        settings = made.settings
        half = (settings.bits - 1) // 2
        for _ in range(MOST_MEASUREMENTS):
            peak = int(measure(made.exponent))
            done = True
            wanted = made.exponent
            if peak >= settings.top:
                wanted, done = made.exponent + half, False
            elif peak < 1 << (settings.bits - 2):
                wanted = made.exponent + _log2_up(max(peak, 1)) - (settings.bits - 2)
                done = peak > 1 << (half - 2)  # enough bits for a jump that can be relied on
            held = settings.held(wanted)
            made.clamped = held != wanted
            stuck = held == made.exponent
            made.exponent = held
            if done or stuck:
                break
        return made


def _log2_up(value: float) -> int:
    """⌈log2 value⌉ of a positive number, exactly."""
    fraction, exponent = math.frexp(value)
    return exponent - (fraction == 0.5)
