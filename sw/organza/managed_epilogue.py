"""Requantisation between tensors whose exponents are picked at run time: the rule of `organza.epilogue`, set up for each image.

With e_in and e_out, the exponents of an image's input and output (0 for a tensor that is not managed):

    bias = (mantissa << …) >> (e_in - bias_exponent)      half up, once an image; exact where it is a shift to the left
    shift = base + e_out - e_in

and then everything as in a frozen layer. The same gateware is in `organza_hw.managed_epilogue`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from organza.epilogue import MAX_BIAS_BITS, MAX_SHIFT, Epilogue
from organza.exponents import LEAST_EXPONENT

BIAS_BITS = 32
MOST_BIAS_EXPONENT = 62


@dataclass(frozen=True, eq=False)
class ManagedEpilogue(Epilogue):
    """Requantisation of a layer with managed exponents.

    Parameters
    ----------
    bias : int32 mantissas: bias in steps of the sums at e_in = 0 is bias * 2**bias_exponent. bias_exponent : −62…62.
    shift : base, −31…78.
    Others : see `Epilogue`.

    Raises
    ------
    TypeError, ValueError : as `Epilogue`, and for a bias_exponent that is no integer or out of range.
    """

    bias_exponent: int = 0

    bias_bits: ClassVar[int] = BIAS_BITS
    shifts: ClassVar[tuple[int, int]] = (LEAST_EXPONENT, MAX_SHIFT - LEAST_EXPONENT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.bias_exponent, bool) or not isinstance(self.bias_exponent, int):
            raise TypeError(f"Epilogue bias_exponent must be an integer, not {self.bias_exponent!r}")
        if abs(self.bias_exponent) > MOST_BIAS_EXPONENT:
            raise ValueError(
                f"Epilogue bias_exponent must be between {-MOST_BIAS_EXPONENT} and {MOST_BIAS_EXPONENT}, not {self.bias_exponent}"
            )

    def aligned_bias(self, exponent: int) -> np.ndarray:
        """The bias in steps of the sums of an image whose input has this exponent, half up.

        Raises ValueError when it gets wider than a bias can be.
        """
        right = exponent - self.bias_exponent
        if right > 0:
            return (self.bias + (np.int64(1) << (right - 1))) >> right
        bits = int(np.abs(self.bias).max(initial=0)).bit_length() - right
        if bits >= MAX_BIAS_BITS and self.bias.any():
            raise ValueError(f"bias must stay below 2**{MAX_BIAS_BITS - 1} at exponent {exponent}, not need {bits} bits")
        return self.bias << min(-right, MAX_BIAS_BITS)

    def at(self, e_in: int, e_out: int) -> Epilogue:
        """What an image with these exponents goes through. Raises ValueError when its shifts are out of range."""
        return Epilogue(
            self.aligned_bias(e_in), self.positive, self.negative, self.shift + (e_out - e_in), self.low, self.high, self.table
        )

    def outputs(self, e_in: int) -> tuple[int, int]:
        """Smallest and largest e_out whose shifts are in range."""
        low, high = Epilogue.shifts
        return e_in + low - int(self.shift.min()), e_in + high - int(self.shift.max())
