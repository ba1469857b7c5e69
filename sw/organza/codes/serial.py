"""Serial codes: weights that are expanded one after the other into the buffer of an engine."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from organza.codes.code import Code, lane_order
from organza.formats import Format

# Codes that a serial one may be around: a field for every weight, for any shape of lanes.
INNER = ("linear", "affine", "power", "ternary", "binary", "codebook")


class Serial(Code):
    """A code that stands for the fields of a direct one, `inner`.

    The lanes are those of the inner code. What is stored is expanded in the order of the lane words, one field for every
    weight, once after reset or once an image; places of a lane word without a weight are not stored.
    """

    inner: Code

    @abstractmethod
    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        """As of `Code`; places of a lane word without a weight are not stored."""

    def buffer_bits(self, ti: int, to: int, groups: int) -> int:
        return self.lane_bits(ti, to, groups)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.inner.shape

    def integers(self) -> np.ndarray:
        return self.inner.integers()

    @property
    def arithmetics(self) -> tuple[str, ...]:
        return self.inner.arithmetics

    def needs(self, arithmetic: str, activation: Format) -> str | None:
        return self.inner.needs(arithmetic, activation)

    def lanes_for(self, activation: Format) -> list[str]:
        return self.inner.lanes_for(activation)

    def orders(self, arithmetic: str) -> tuple[str, ...]:
        return self.inner.orders(arithmetic)

    def memories(self, order: str) -> tuple[str, ...]:
        return ("stream", "expand") if order == "weight" else ("expand",)

    def sum_cycles(self, arithmetic: str) -> int:
        return self.inner.sum_cycles(arithmetic)

    def most_ti(self, arithmetic: str, channels: int) -> int:
        return self.inner.most_ti(arithmetic, channels)

    @property
    def field_bits(self) -> int:
        return self.inner.field_bits

    def fields(self) -> np.ndarray:
        return self.inner.fields()

    @property
    def magnitude(self) -> int:
        return self.inner.magnitude

    @property
    def zero_field(self) -> int | None:
        return self.inner.zero_field


@dataclass(frozen=True, eq=False)
class Wrapper(Serial):
    """A lossless serial code around one of `INNER`.

    Raises TypeError when `inner` is no code, ValueError when it is none of those.
    """

    inner: Code

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Code):
            raise TypeError(f"{self.kind} must be around a code, not {self.inner!r}")
        self.inner.check_inside(self.kind)
        self.check_inner(self.inner.kind)

    @classmethod
    def check_inner(cls, kind: str) -> None:
        """Raise ValueError for a code that this one cannot be around."""
        if kind not in INNER:
            raise ValueError(f"{cls.kind} must be around one of {', '.join(INNER)}, not {kind!r}")

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Own parameters, without those of the inner code."""

    @property
    def table_bits(self) -> int:
        return self.inner.table_bits

    def ordered(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> np.ndarray:
        """Fields in the order of the lane words (`image_bits`), without the places that hold no weight."""
        order = lane_order(self.shape, ti, to, groups)
        if words is not None:
            order = order.reshape(-1, ti * to)[words].reshape(-1)
        return self.fields().reshape(-1)[order[order >= 0]]

    def parameters(self) -> dict[str, Any]:
        return {**self.options(), "inner": {"kind": self.inner.kind, **self.inner.parameters()}}

    def arrays(self) -> dict[str, np.ndarray]:
        return self.inner.arrays()

    @classmethod
    def restore(cls, parameters: dict[str, Any], arrays: dict[str, np.ndarray]) -> Code:
        from organza.codes import DIRECT  # from a module that imports this one

        own = dict(parameters)
        described = dict(own.pop("inner"))
        kind = described.pop("kind")
        cls.check_inner(kind)
        return cls(DIRECT[kind].restore(described, arrays), **own)

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """The code of option `inner`, a `CodeSpec` (linear by default), smaller without loss."""
        from organza.codes import CODES
        from organza.codes.spec import CodeSpec

        spec = options.pop("inner", CodeSpec())
        cls.check_inner(spec.kind)
        inner, scales = CODES[spec.kind].encode(weights, groups, power, **spec.options)
        try:
            return cls(inner, **options), scales
        except TypeError as error:
            raise ValueError(f"{cls.kind}: {error}") from error
