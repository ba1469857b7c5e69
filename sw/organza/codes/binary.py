"""Binary weights ±1: one bit that flips the sign of the activation (ApGAN; W1A8, or W1A1 where the input is signs)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from organza.adders import EXACT, KINDS, Adder
from organza.codes.code import (
    Code,
    PlainCode,
    by_channel,
    channel_power,
    check_weights,
    from_channels,
    no_options,
)
from organza.formats import Format, Sign

TI = 8  # lanes of an approximate tree by default
_ELEMENTS = 1 << 18  # of a tree that is added up at once: it stays in the cache


@dataclass(frozen=True, eq=False)
class Binary(PlainCode):
    """Field: 1 for -1, 0 for +1. There is no zero: lanes without a weight must get the activation 0.

    With approximate adders (ApGAN) what a layer computes depends on the tree, so the code says how many lanes a tree has:

        loa        Σ a - 2 · tree(a where the field is 1, else 0)
        notcarry   tree(a, or -a - 1 where the field is 1) + number of fields that are 1

    over each Ti input channels of a tap, `Adder.tree`; channels beyond the last have activation and field 0. Everything else is
    exact: Σ a, the number of fields, and the sum over taps and tiles, which therefore may come in any order. A tap that does not
    exist counts 0.

    Parameters
    ----------
    weights : ±1. adder : of the lanes' trees. ti : lanes of a tree, if the adder is approximate.

    Raises TypeError for weights or a `ti` that are not integers, ValueError for a wrong shape, weights other than ±1, or a `ti`
    out of range.
    """

    weights: np.ndarray
    adder: Adder = EXACT
    ti: int | None = None

    kind = "binary"
    loads = True

    def __post_init__(self) -> None:
        weights = check_weights("Binary", self.weights)
        if not (np.abs(weights) == 1).all():
            raise ValueError("Binary weights must be -1 or 1")
        object.__setattr__(self, "weights", weights)
        if self.adder.exact:
            if self.ti is not None:
                raise ValueError(f"Binary ti must be None with exact adders, not {self.ti!r}")
        elif isinstance(self.ti, bool) or not isinstance(self.ti, int):
            raise TypeError(f"Binary ti must be an integer with {self.adder} adders, not {self.ti!r}")
        elif not 1 <= self.ti <= len(weights):
            raise ValueError(f"Binary ti must be between 1 and {len(weights)}, the input channels, not {self.ti}")

    @property
    def field_bits(self) -> int:
        return 1

    def fields(self) -> np.ndarray:
        return (self.weights < 0).astype(np.int64)

    def of_fields(self, fields: np.ndarray) -> Code:
        return replace(self, weights=1 - 2 * fields)

    @property
    def zero_field(self) -> int | None:
        return None

    @property
    def magnitude(self) -> int:
        return 1

    @property
    def label(self) -> str:
        return self.kind if self.adder.exact else f"{self.kind}:{self.adder}:ti{self.ti}"

    @property
    def arithmetics(self) -> tuple[str, ...]:
        """"xnor" counts equal signs."""
        return ("plain", "xnor") if self.adder.exact else ("plain",)

    def needs(self, arithmetic: str, activation: Format) -> str | None:
        if arithmetic == "xnor":
            return None if isinstance(activation, Sign) else "signs as activations"
        enough = self.adder.exact or (not isinstance(activation, Sign) and activation.bits >= self.adder.low)
        return None if enough else f"numbers of at least {self.adder.low} bits as activations with {self.adder} adders"

    def lanes_for(self, activation: Format) -> list[str]:
        lanes = super().lanes_for(activation)
        return lanes[::-1] if isinstance(activation, Sign) else lanes

    @property
    def lane_shape(self) -> tuple[int | None, int | None]:
        return self.ti, None

    def check_inside(self, outer: str) -> None:
        if not self.adder.exact:
            raise ValueError(f"{outer} must be around binary weights with exact adders, not {self.adder}")

    def lane_sums(self, x: np.ndarray, channels: slice, ty: int, tx: int) -> np.ndarray:
        assert self.ti is not None
        negative = self.weights[channels, :, ty, tx] < 0
        (n, cig), cog = x.shape, negative.shape[1]
        missing = -cig % self.ti
        dtype = np.int32 if self.ti <= 1 << 12 else np.int64  # of 16-bit activations, doubled
        x = np.pad(x.astype(dtype), ((0, 0), (0, missing))).T.reshape(-1, self.ti, 1, n)
        negative = np.pad(negative, ((0, missing), (0, 0))).reshape(-1, self.ti, cog, 1)
        made = np.zeros((cog, n), np.int64)
        step = max(_ELEMENTS // (self.ti * cog), 1)
        for start in range(0, n, step):
            pixels = slice(start, start + step)
            for a, field in zip(x[..., pixels], negative, strict=True):
                if self.adder.flips:
                    made[:, pixels] += self.adder.tree(a ^ -field.astype(dtype)) + field.sum(0)
                else:
                    made[:, pixels] += a.sum(0) - 2 * self.adder.tree(np.where(field, a, 0))
        return made.T

    def sum_error(self, groups: int) -> int:
        if self.ti is None:
            return 0
        ci, _, ky, kx = self.shape
        issues = -(-ci // groups // self.ti) * ky * kx
        return issues * (self.ti - 1) * self.adder.error * (1 if self.adder.flips else 2)

    def parameters(self) -> dict[str, Any]:
        return {} if self.adder.exact else {"adder": str(self.adder), "ti": self.ti}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights.astype(np.int8)}

    @classmethod
    def restore(cls, parameters: dict[str, Any], arrays: dict[str, np.ndarray]) -> Code:
        own = dict(parameters)
        return cls(**arrays, adder=Adder.parse(own.pop("adder", "exact")), **own)

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: int
    ) -> tuple[Code, np.ndarray]:
        """Signs, and the (input-power weighted) mean magnitude of every output channel.

        Options: `activations`, bits of the layer's input, 1 or 8, is for the layer before. `loa` or `notcarry`, low bits of an
        approximate adder; then `ti`, lanes of a tree (8, or the channels of a group if fewer).
        """
        activations = options.pop("activations", 8)
        if activations not in (1, 8):
            raise ValueError(f"binary activations must have 1 or 8 bits, not {activations}")
        adders = [Adder(kind, options.pop(kind)) for kind in KINDS if kind in options]
        if len(adders) > 1:
            raise ValueError(f"binary takes one adder, not {' and '.join(map(str, adders))}")
        adder = adders[0] if adders else EXACT
        if not adder.exact and activations == 1:
            raise ValueError(f"binary adders must be exact where activations are signs, not {adder}")
        if adder.exact and "ti" in options:
            raise ValueError("binary takes ti only with approximate adders, loaN or notcarryN")
        ti = None if adder.exact else min(options.pop("ti", TI), len(weights) // groups)
        no_options("binary", options)
        rows, cost = by_channel(weights, groups), channel_power(power, weights.shape, groups)
        cost = np.where(cost > 0, cost, cost.max() * 1e-9 or 1.0)
        scales = (np.abs(rows) * cost).sum(1) / cost.sum(1)
        signs = np.where(rows < 0, -1, 1)
        return cls(from_channels(signs, weights.shape, groups), adder, ti), scales


def redundancy_of(ci: int, height: int, width: int) -> int:
    """ApGAN's measure of a layer by its *input*, c - h * w: how many more channels than places."""
    return ci - height * width


def binarise_by_redundancy(ci: int, height: int, width: int) -> bool:
    """ApGAN's layer selection: layers whose redundancy is positive are binarised, the others keep their code."""
    return redundancy_of(ci, height, width) > 0
