"""Serial codes: weights that are expanded one after the other into the buffer of an engine."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from organza.codes.code import Code, lane_order


class Serial(Code):
    """A code that stands for the fields of a direct one, `inner`.

    The lanes are those of the inner code. What is stored is expanded once after reset, in the order
    of the lane words, one field for every weight; places of a lane word without a weight are not
    stored.
    """

    memories: ClassVar[tuple[str, ...]] = ("expand",)

    inner: Code

    @abstractmethod
    def image_bits(self, ti: int, to: int, groups: int) -> int:
        """Bits of the memory images for Ti × To lanes."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.inner.shape

    def integers(self) -> np.ndarray:
        return self.inner.integers()

    @property
    def field_bits(self) -> int:
        return self.inner.field_bits

    def fields(self) -> np.ndarray:
        return self.inner.fields()

    @property
    def magnitude(self) -> int:
        return self.inner.magnitude

    @property
    def buffer_bits(self) -> int:
        return self.field_bits * int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class Wrapper(Serial):
    """A lossless serial code around any direct one.

    Raises TypeError when `inner` is no code, ValueError when it is serial itself.
    """

    inner: Code

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Code):
            raise TypeError(f"{self.kind} must be around a code, not {self.inner!r}")
        # A code for one shape of lanes makes its words itself: there are no fields to expand.
        if "rom" not in self.inner.memories or self.inner.lane_shape is not None:
            raise ValueError(f"{self.kind} must be around a direct code, not {self.inner.kind}")

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Own parameters, without those of the inner code."""

    @property
    def tables_bits(self) -> int:
        """Bits of the inner code that are no fields: centroids, offsets."""
        return max(self.inner.stored_bits - self.buffer_bits, 0)

    def ordered(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Fields in the order of the lane words, without the places that hold no weight."""
        order = lane_order(self.shape, ti, to, groups)
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
        if kind not in DIRECT:
            raise ValueError(f"{cls.kind} must be around one of {', '.join(DIRECT)}, not {kind!r}")
        return cls(DIRECT[kind].restore(described, arrays), **own)

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """The code of option `inner`, a `CodeSpec` (linear by default), smaller without loss."""
        from organza.codes import CODES
        from organza.codes.spec import CodeSpec

        spec = options.pop("inner", CodeSpec())
        inner, scales = CODES[spec.kind].encode(weights, groups, power, **spec.options)
        try:
            return cls(inner, **options), scales
        except TypeError as error:
            raise ValueError(f"{cls.kind}: {error}") from error
