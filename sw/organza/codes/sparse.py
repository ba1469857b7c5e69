"""Sparse weights around another direct code: pruned weights take no cycle, the lanes gather what
the others need.

The unit is (output channel, tap, block of M input channels of a group). A lane word serves one
block and gives each of To output channels up to Ti non-zeros; a field holds the value and its
channel inside the block, so a lane is the other code's arithmetic behind an M:1 multiplexer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from organza.checks import check_integer
from organza.codes.code import Code, by_channel, channel_power, no_options
from organza.codes.pruning import prune
from organza.codes.sparse_formats import (
    MAX_GAP_BITS,
    MIN_GAP_BITS,
    decode_bitmap,
    decode_relative,
    encode_bitmap,
    encode_relative,
    relative_entries,
)

INNER = ("linear", "power", "ternary", "binary", "codebook")
INDEXES = ("bitmap", "relative")
BLOCK, GAP_BITS = 16, 4


def _check_storage(block: int, index: str, gap: int) -> None:
    """Raise TypeError / ValueError for what `Sparse` cannot store."""
    for name, value, low, high in (("block", block, 2, 16), ("gap", gap, MIN_GAP_BITS, MAX_GAP_BITS)):
        check_integer(f"Sparse {name}", value, low, high)
    if index not in INDEXES:
        raise ValueError(
            f"Sparse index must be one of {', '.join(INDEXES)}, not {index!r}"
        )


@dataclass(frozen=True, eq=False)
class Sparse(Code):
    """The weights of `inner` where `mask` holds, zero elsewhere.

    Parameters
    ----------
    inner : a linear, power, ternary, binary or codebook code.
    mask : bool, shape of the weights; True keeps a weight. A kept weight that is zero counts as
        pruned.
    block : M, input channels that share a multiplexer, 2…16.
    index : how positions are stored, "bitmap" or "relative". gap : bits of a relative index, 2…8.

    Raises
    ------
    TypeError : an inner code, mask, block or gap of the wrong type.
    ValueError : an inner code that cannot be pruned, a mask of another shape, a value out of range.
    """

    inner: Code
    mask: np.ndarray
    block: int = BLOCK
    index: str = "bitmap"
    gap: int = GAP_BITS

    kind = "sparse"
    gathers = True

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Code):
            raise TypeError(f"Sparse inner must be a code, not {self.inner!r}")
        if self.inner.kind not in INNER:
            raise ValueError(
                f"Sparse inner must be one of {', '.join(INNER)}, not {self.inner.kind!r}"
            )
        self.inner.check_inside(self.kind)
        _check_storage(self.block, self.index, self.gap)
        mask = np.asarray(self.mask)
        if mask.dtype != bool:
            raise TypeError(f"Sparse mask must be booleans, not {mask.dtype}")
        if mask.shape != self.inner.shape:
            raise ValueError(
                f"Sparse mask must have shape {self.inner.shape} as the weights, not {mask.shape}"
            )
        object.__setattr__(self, "mask", mask & (self.inner.integers() != 0))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.inner.shape

    def integers(self) -> np.ndarray:
        return np.where(self.mask, self.inner.integers(), 0)

    @property
    def index_bits(self) -> int:
        """Bits of a channel number inside a block; one number more says "none" if the other code
        has no zero."""
        return (self.block - (self.inner.zero_field is not None)).bit_length()

    @property
    def field_bits(self) -> int:
        return self.inner.field_bits + self.index_bits

    @property
    def idle(self) -> int:
        """Field of a lane that has nothing to do."""
        zero = self.inner.zero_field
        return self.block << self.inner.field_bits if zero is None else zero

    def fields(self) -> np.ndarray:
        """The value part: the other code's fields of kept weights, 0 elsewhere."""
        return np.where(self.mask, self.inner.fields(), 0)

    @property
    def magnitude(self) -> int:
        return self.inner.magnitude

    @property
    def table_bits(self) -> int:
        return self.inner.table_bits

    @property
    def stored_bits(self) -> int:
        """Values of kept weights, bitmap or relative index with its fillers, and the other code's
        tables."""
        if self.index == "bitmap":
            stored = self.mask.size + self.effectual().sum() * self.inner.field_bits
        else:
            stored = relative_entries(self._scanned(self.mask), self.gap) * (
                self.gap + self.inner.field_bits
            )
        return int(stored) + self.table_bits

    def lane_bits(self, ti: int, to: int, groups: int) -> int:
        """With the fields of idle lanes, and for every lane word the number of its block."""
        channels = self.shape[0] // groups
        blocks = -(-channels // self.span(ti, channels))
        number = max((blocks - 1).bit_length(), 1)
        return super().lane_bits(ti, to, groups) + int(self.tap_issues(ti, to, groups).sum()) * number

    def to_bits(self) -> np.ndarray:
        """The stored form without tables, uint8 of 0 and 1: by output channel, tap, input
        channel."""
        fields, mask, bits = (
            self._scanned(self.fields()),
            self._scanned(self.mask),
            self.inner.field_bits,
        )
        if self.index == "bitmap":
            return encode_bitmap(fields, mask, bits)
        return encode_relative(fields, mask, bits, self.gap)

    def from_bits(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`fields()` and mask that `bits` hold for a code of this shape. Raises ValueError for
        damaged bits."""
        shape, value = self._scanned(self.mask).shape, self.inner.field_bits
        if self.index == "bitmap":
            fields, mask = decode_bitmap(bits, shape, value)
        else:
            fields, mask = decode_relative(bits, shape, value, self.gap)
        return fields.transpose(3, 0, 1, 2), mask.transpose(3, 0, 1, 2)

    @staticmethod
    def _scanned(weights: np.ndarray) -> np.ndarray:
        """(ci, co // groups, ky, kx) as (co // groups, ky, kx, ci): a lane's neighbours are stored
        together."""
        return weights.transpose(1, 2, 3, 0)

    def parameters(self) -> dict[str, Any]:
        inner = {"kind": self.inner.kind, **self.inner.parameters()}
        return {"inner": inner, "block": self.block, "index": self.index, "gap": self.gap}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"mask": self.mask, **self.inner.arrays()}

    @classmethod
    def restore(cls, parameters: dict[str, Any], arrays: dict[str, np.ndarray]) -> Code:
        from organza.codes import CODES  # which holds this class too

        own, rest = dict(parameters), dict(arrays)
        described = dict(own.pop("inner"))
        kind = described.pop("kind")
        if kind not in INNER:
            raise ValueError(f"Sparse inner must be one of {', '.join(INNER)}, not {kind!r}")
        mask = rest.pop("mask")
        return cls(CODES[kind].restore(described, rest), mask, **own)

    # How the lanes see it.

    def effectual(self) -> np.ndarray:
        return self.mask.sum((0, 1))

    def span(self, ti: int, channels: int) -> int:
        return min(self.block, channels)

    @cached_property
    def _units(self) -> dict[int, np.ndarray]:
        return {}

    def unit_counts(self, groups: int) -> np.ndarray:
        """Non-zeros of every unit, int64, shape (groups, blocks, co // groups, ky · kx)."""
        if groups not in self._units:
            self._units[groups] = self._blocked(self.mask, groups).sum(2)
        return self._units[groups]

    def _blocked(self, weights: np.ndarray, groups: int) -> np.ndarray:
        """(groups, blocks, channel of the block, co // groups, ky · kx), zero where a block is not
        full."""
        ci, cog, ky, kx = self.shape
        span = self.span(0, ci // groups)
        w = weights.reshape(groups, ci // groups, cog, ky * kx)
        w = np.pad(w, ((0, 0), (0, -(ci // groups) % span), (0, 0), (0, 0)))
        return w.reshape(groups, -1, span, cog, ky * kx)

    def _block_issues(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Words of every (group, co tile, tap, block): the output channel with the most non-zeros
        decides.

        A tap with none in any block has one word of idle lanes: skipping it would take a look ahead
        of the sequencer.
        """
        need = -(-self.unit_counts(groups) // ti)
        _, nb, cog, taps = need.shape
        need = np.pad(need, ((0, 0), (0, 0), (0, -cog % to), (0, 0)))
        issues = need.reshape(groups, nb, -1, to, taps).max(3).transpose(0, 2, 3, 1).copy()
        issues[..., 0] += issues.sum(-1) == 0
        return issues

    def tap_issues(self, ti: int, to: int, groups: int) -> np.ndarray:
        return self._block_issues(ti, to, groups).sum(-1).reshape(-1, *self.shape[2:])

    def word_blocks(self, ti: int, to: int, groups: int) -> np.ndarray:
        issues = self._block_issues(ti, to, groups)
        return np.repeat(
            np.broadcast_to(np.arange(issues.shape[-1]), issues.shape).ravel(), issues.ravel()
        )

    def words(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Memory image for Ti × To lanes: int64 (words, to, ti) of fields, value low, channel of
        the block above it.

        Words follow each other by group, co tile, tap, block, then non-zeros: the first Ti of an
        output channel first.
        """
        issues = self._block_issues(ti, to, groups)
        ends = np.cumsum(issues.ravel())
        starts = (ends - issues.ravel()).reshape(issues.shape)
        made = np.full((ends[-1], to, ti), self.idle, np.int64)
        kept = self._blocked(self.mask, groups)
        rank = np.cumsum(kept, 2) - 1
        group, block, channel, output, tap = where = np.nonzero(kept)
        value = self._blocked(self.inner.fields(), groups)[where] + (
            channel << self.inner.field_bits
        )
        word = starts[group, output // to, tap, block] + rank[where] // ti
        made[word, output % to, rank[where] % ti] = value
        return made

    # Where it comes from.

    @classmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """Magnitude pruning, then the inner code on what is left, then scales of least squared
        error.

        Magnitudes count by the root of their channel's input power. Options: `sparsity`, percent to
        prune, 75 by default; `balanced`, the same number in every unit (True by default) instead of
        one threshold for the layer; `inner`, a `CodeSpec`, 8-bit linear by default; `block`,
        `index`, `gap` as of the class.
        """
        from organza.codes import CODES
        from organza.codes.spec import CodeSpec

        sparsity, balanced = options.pop("sparsity", 75), options.pop("balanced", True)
        inner: CodeSpec = options.pop("inner", CodeSpec())
        stored = {name: options.pop(name) for name in ("block", "index", "gap") if name in options}
        no_options("sparse", options)
        if inner.kind not in INNER:
            raise ValueError(f"sparse must be around one of {', '.join(INNER)}, not {inner.kind!r}")
        _check_storage(stored.get("block", BLOCK), stored.get("index", "bitmap"), stored.get("gap", GAP_BITS))
        importance = np.abs(weights) * np.sqrt(power)[:, None, None, None]
        block = stored.get("block", BLOCK) if balanced else None
        mask = prune(importance, groups, sparsity, block)
        code, scales = CODES[inner.kind].encode(
            np.where(mask, weights, 0), groups, power, **inner.options
        )
        made = cls(code, mask, **stored)
        rows, q = by_channel(weights, groups), by_channel(made.integers(), groups)
        cost = channel_power(power, weights.shape, groups)
        cost = np.where(cost > 0, cost, cost.max() * 1e-9 or 1.0)
        square = (cost * q * q).sum(1)
        # Codes fit their scale to all weights, the pruned ones too.
        return made, np.where(
            square > 0, (cost * rows * q).sum(1) / np.where(square > 0, square, 1), scales
        )
