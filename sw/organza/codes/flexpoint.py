"""Flexpoint weights: int16 mantissas with one 5-bit exponent a layer (Köster et al., Flexpoint, NIPS 2017, flex16+5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from organza.codes.code import Code, PlainCode, check_weights, no_options
from organza.exponents import EXPONENT_BITS, MANTISSA_BITS, check_exponent, covering_exponent

# How exponents of activations are chosen: once, at calibration, or at run time, see `organza.manage`.
FROZEN, MANAGED = "frozen", "managed"


@dataclass(frozen=True, eq=False)
class Flexpoint(PlainCode):
    """Shared-exponent code: weight = integer * 2**exponent.

    The lanes see the mantissas only. The exponent is in the epilogue's shifts, whose constants are made with it.

    Parameters
    ----------
    weights : mantissas, shape (ci, co // groups, ky, kx), within −2**15 … 2**15 − 1.
    exponent : −31…0, of the layer.

    Raises
    ------
    TypeError : weights or an exponent that are not integers.
    ValueError : a wrong shape, a mantissa beyond 16 bits, or an exponent that its 5 bits cannot hold.
    """

    weights: np.ndarray
    exponent: int = 0

    kind = "flexpoint"
    loads = True

    def __post_init__(self) -> None:
        check_exponent("Flexpoint exponent", self.exponent)
        weights = check_weights("Flexpoint", self.weights)
        if weights.min() < -self.magnitude or weights.max() >= self.magnitude:
            raise ValueError(f"Flexpoint mantissas must be between {-self.magnitude} and {self.magnitude - 1}")
        object.__setattr__(self, "weights", weights)

    @property
    def field_bits(self) -> int:
        return MANTISSA_BITS

    def fields(self) -> np.ndarray:
        return self.weights & ((1 << MANTISSA_BITS) - 1)

    def of_fields(self, fields: np.ndarray) -> Code:
        return replace(self, weights=fields - (fields >> (MANTISSA_BITS - 1) << MANTISSA_BITS))

    @property
    def magnitude(self) -> int:
        return 1 << (MANTISSA_BITS - 1)

    @property
    def stored_bits(self) -> int:
        return super().stored_bits + self.table_bits

    @property
    def table_bits(self) -> int:
        return EXPONENT_BITS

    def parameters(self) -> dict[str, Any]:
        return {"exponent": self.exponent}

    @property
    def fixed(self) -> dict[str, Any]:
        """The exponent is in what is made of the sums."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.astype(np.int16)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """The smallest exponent at which no weight clips, rounding to nearest; `power` does not matter.

        Options: `least`, no smaller exponent than this one; `exponents`, "frozen" or "managed", is for what the layer reads.
        """
        least, exponents = options.pop("least", None), options.pop("exponents", FROZEN)
        if exponents not in (FROZEN, MANAGED):
            raise ValueError(f"flexpoint exponents must be {FROZEN} or {MANAGED}, not {exponents!r}")
        no_options("flexpoint", options)
        exponent = covering_exponent(float(np.abs(weights).max()), headroom=1.0)
        if least is not None:
            exponent = max(exponent, least)
        top = (1 << (MANTISSA_BITS - 1)) - 1
        mantissas = np.clip(np.round(np.ldexp(weights, -exponent)), -top, top).astype(np.int64)
        return cls(mantissas, exponent), np.full(weights.shape[1] * groups, 2.0**exponent)
