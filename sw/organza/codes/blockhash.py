"""Blocked hash: one hash of its address chooses the stored row of a whole lane word, and its signs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from organza.codes.code import (
    Code,
    by_channel,
    channel_power,
    from_channels,
    lane_order,
    no_options,
)

BITS = 8  # of a bucket
FACTOR = 2654435761  # Knuth's multiplicative hash, 2**32 / golden ratio
SHAPE = (8, 4)  # Ti, To by default


def sign_bits(lanes: int) -> list[tuple[int, int]]:
    """The two bits of the folded hash whose exclusive or is the sign of each lane.

    Other ones for every lane up to 128; never the same bit twice.
    """
    return [(lane % 32, (lane + 9 + 2 * (lane // 32)) % 32) for lane in range(lanes)]


def hash_words(number: int, lanes: int, row_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Row (number,) and signs ±1 (number, lanes) of lane words 0…number - 1.

    h = address · 2654435761 mod 2**32; row = its highest `row_bits` bits; signs from h xor h >> 15.
    """
    h = (np.arange(number, dtype=np.uint64) * np.uint64(FACTOR)) & np.uint64(0xFFFFFFFF)
    rows = (h >> np.uint64(32 - row_bits)).astype(np.int64)
    bits = (
        ((h ^ (h >> np.uint64(15)))[:, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    ).astype(np.int64)
    first, second = np.array(sign_bits(lanes)).T
    return rows, 1 - 2 * (bits[:, first] ^ bits[:, second])


@dataclass(frozen=True, eq=False)
class BlockHash(Code):
    """Lane words that share a few stored rows, each with signs of its own.

    Made for one shape of lanes: an engine of another Ti × To cannot run it.

    Parameters
    ----------
    rows : (2**b, to, ti) integers within ±127, 0 ≤ b ≤ 20. size : (ci, co // groups, ky, kx).
    groups : channel groups of the layer.

    Raises
    ------
    TypeError, ValueError : rows, a size or groups that are no integers, or out of range.
    """

    rows: np.ndarray
    size: tuple[int, int, int, int]
    groups: int = 1

    kind = "blockhash"
    loads = True

    def __post_init__(self) -> None:
        rows, size = np.asarray(self.rows), tuple(self.size)
        if not np.issubdtype(rows.dtype, np.integer):
            raise TypeError(f"BlockHash rows must be integers, not {rows.dtype}")
        for name, value in (("groups", self.groups), *(("size", side) for side in size)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"BlockHash {name} must be an integer, not {value!r}")
        if len(size) != 4 or min(size) < 1 or self.groups < 1 or size[0] % self.groups:
            raise ValueError(f"BlockHash size must be (ci, co/groups, ky, kx), not {size}")
        rows = rows.astype(np.int64)
        if rows.ndim != 3 or len(rows) & (len(rows) - 1) or not 1 <= len(rows) <= 1 << 20:
            raise ValueError(f"BlockHash rows must be (a power of two, to, ti), not {rows.shape}")
        if not 1 <= rows.shape[1] <= size[1] or not 1 <= rows.shape[2] <= size[0] // self.groups:
            raise ValueError(
                f"BlockHash lanes {rows.shape[1:]} must be within the channels of {size}"
            )
        if np.abs(rows).max() > 127:
            raise ValueError("BlockHash rows must be within ±127")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "size", size)

    @staticmethod
    def places(
        size: tuple[int, ...], groups: int, factor: int, ti: int, to: int
    ) -> tuple[tuple[int, int, int], np.ndarray, np.ndarray]:
        """Shape of `rows` for about `factor` weights a bucket; bucket, among all rows, and sign of every weight.

        Bucket and sign are int64 of `size`; `ti` and `to` end at the channels there are.
        """
        ti, to = min(ti, size[0] // groups), min(to, size[1])
        order = lane_order(size, ti, to, groups)
        number = len(order) // (ti * to)
        row_bits = max(-(-number // factor) - 1, 0).bit_length()
        chosen, signs = hash_words(number, ti * to, row_bits)
        bucket, sign = np.zeros((2, int(np.prod(size))), np.int64)
        real = order >= 0
        bucket[order[real]] = (chosen[:, None] * (ti * to) + np.arange(ti * to)).reshape(-1)[real]
        sign[order[real]] = signs.reshape(-1)[real]
        return (1 << row_bits, to, ti), bucket.reshape(size), sign.reshape(size)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.size

    @property
    def lane_shape(self) -> tuple[int, int]:
        return self.rows.shape[2], self.rows.shape[1]

    @property
    def row_bits(self) -> int:
        """Bits of a row's number."""
        return len(self.rows).bit_length() - 1

    @cached_property
    def _words(self) -> np.ndarray:
        """Lane words (words, to, ti), places without a weight included."""
        _, to, ti = self.rows.shape
        number = len(lane_order(self.size, ti, to, self.groups)) // (to * ti)
        chosen, signs = hash_words(number, to * ti, self.row_bits)
        return self.rows[chosen] * signs.reshape(-1, to, ti)

    def integers(self) -> np.ndarray:
        _, to, ti = self.rows.shape
        order = lane_order(self.size, ti, to, self.groups)
        made = np.zeros(int(np.prod(self.size)), np.int64)
        made[order[order >= 0]] = self._words.reshape(-1)[order >= 0]
        return made.reshape(self.size)

    @property
    def field_bits(self) -> int:
        return BITS

    def fields(self) -> np.ndarray:
        return self.integers() & 255

    @property
    def magnitude(self) -> int:
        return 127

    @property
    def stored_bits(self) -> int:
        return BITS * self.rows.size

    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        """Rows, which are as wide as the lanes."""
        return self.stored_bits

    def parameters(self) -> dict[str, Any]:
        return {"size": list(self.size), "groups": self.groups}

    @property
    def fixed(self) -> dict[str, Any]:
        return {**self.parameters(), "rows": list(self.rows.shape)}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rows": self.rows.astype(np.int8)}

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """Rows of least squared error, as `Hashed` does it.

        Options: `factor`, about how many weights share a bucket (8 by default); `ti`, `to`, lanes
        of the engine (8 and 4, or the layer's channels if fewer).
        """
        factor = options.pop("factor", 8)
        ti, to = options.pop("ti", SHAPE[0]), options.pop("to", SHAPE[1])
        no_options("blockhash", options)
        if min(factor, ti, to) < 1:
            raise ValueError(
                f"blockhash factor and lanes must be at least 1, not {factor}, {ti}, {to}"
            )
        shape, bucket, sign = cls.places(weights.shape, groups, factor, ti, to)
        rows, cost = by_channel(weights, groups), channel_power(power, weights.shape, groups)
        unit = np.sqrt((rows**2).mean(1))
        scale = from_channels(np.broadcast_to(unit[:, None], rows.shape), weights.shape, groups)
        part = from_channels(cost, weights.shape, groups) * scale
        bucket, count = bucket.reshape(-1), np.prod(shape)
        total, share = (np.bincount(bucket, (part * value).reshape(-1), count) for value in (sign * weights, scale))
        values = np.where(share > 0, total / np.where(share > 0, share, 1), 0)
        step = np.abs(values).max() / 127 or 1.0
        made = np.round(values / step).astype(np.int64).reshape(shape)
        return cls(made, weights.shape, groups), unit * step
