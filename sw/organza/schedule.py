"""The order in which one engine visits a layer: which tiles, which taps, which rows must be there.

An engine has Ti × To × P lanes: Ti input channels, To output channels and P consecutive same-phase pixels of one output
row. It is output stationary and visits only taps that exist:

    for every output row: for every output-channel tile (groups outermost): for every block of P pixels:
        for every vertical tap, horizontal tap, input-channel tile: one issue

Codes that gather have no input-channel tiles but as many issues a tap as the weights need (`Code.tap_issues`).
Everything here is static. The gateware turns it into tables and counters, the cycle model adds it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from organza.geometry import Axis
from organza.program import Convolve

# Every Verilog tool must take vectors of this many bits (IEEE 1364-2005, 4.3.1), and need not take wider ones.
MOST_WORD_BITS = 1 << 16


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)


@dataclass(frozen=True)
class ColumnTap:
    """One horizontal tap of a block: kernel column, input column of pixel lane 0, and the lanes where it exists."""

    k: int
    column: int
    mask: tuple[bool, ...]


@dataclass(frozen=True)
class Block:
    """Up to P output pixels ``first, first + phases, …`` of one row and the union of their horizontal taps."""

    first: int
    pixels: int
    taps: tuple[ColumnTap, ...]


def blocks(axis: Axis, p: int) -> list[Block]:
    """Blocks of one output row, phase by phase, of at most `p` pixels."""
    made = []
    for phase in range(min(axis.phases, axis.output)):
        positions = range(phase, axis.output, axis.phases)
        for start in range(0, len(positions), p):
            chosen = positions[start : start + p]
            existing = [dict(axis.table[x]) for x in chosen]
            taps = []
            for k in sorted(set().union(*existing)):
                column = (chosen[0] * axis.down + axis.crop_before - k) // axis.up
                mask = tuple(lane < len(chosen) and k in existing[lane] for lane in range(p))
                taps.append(ColumnTap(k, column, mask))
            made.append(Block(chosen[0], len(chosen), tuple(taps)))
    return made


@dataclass(frozen=True)
class RowNeeds:
    """Input rows of one output row.

    window : rows that must have arrived, counted from the oldest row still held, before the row may start.
    release : oldest rows that are no longer needed once the row has been read.
    """

    window: int
    release: int


def row_needs(axis: Axis) -> list[RowNeeds]:
    """`RowNeeds` of every output row.

    The first row waits for an input row even if it reads none: nothing leaves before its image has come. The last row
    waits for the whole image, then releases all of it.
    """
    lows = [min((i for _, i in taps), default=axis.size) for taps in axis.table]
    highs = [max((i + 1 for _, i in taps), default=0) for taps in axis.table]
    held, needed = [0] * (axis.output + 1), 1
    oldest = axis.size
    for y in reversed(range(axis.output)):
        oldest = min(oldest, lows[y])
        held[y] = oldest if y else 0
    held[axis.output] = axis.size
    made = []
    for y in range(axis.output):
        needed = max(needed, highs[y], held[y + 1])  # a row can only be released once it has arrived
        made.append(RowNeeds(max(needed - held[y], 0), held[y + 1] - held[y]))
    return made


def _incidence(kernel: int, taps: list[list[int]]) -> np.ndarray:
    """1 where entry n has tap k, int64, shape (entries, kernel)."""
    made = np.zeros((len(taps), kernel), np.int64)
    for number, chosen in enumerate(taps):
        made[number, chosen] = 1
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A layer on Ti × To × P lanes with E epilogue units; Ti inputs at once are Ti non-zeros for codes that gather.

    arithmetic : one of the code's `arithmetics`, "" for the first.

    Raises ValueError for lane counts below 1 or beyond the layer's channels and pixels, or lanes that the code lacks.
    """

    node: Convolve
    ti: int
    to: int
    p: int = 1
    e: int = 1
    arithmetic: str = ""

    def __post_init__(self) -> None:
        node = self.node
        known = node.code.arithmetics
        if not self.arithmetic:
            object.__setattr__(self, "arithmetic", node.code.lanes_for(node.input)[0])
        if self.arithmetic not in known:
            raise ValueError(
                f"{node.name}: arithmetic of this {node.code.kind} code must be {' or '.join(map(repr, known))}, "
                f"not {self.arithmetic!r}"
            )
        need = node.code.needs(self.arithmetic, node.input)
        if need is not None:
            raise ValueError(f"{node.name}: {self.arithmetic!r} lanes must have {need}, not {node.input}")
        group = node.ci // node.groups
        for name, most in (
            ("ti", node.code.most_ti(self.arithmetic, group)),
            ("to", node.co // node.groups),
            ("p", node.x.output),
            ("e", self.to),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{node.name}: {name} must be an integer, not {value!r}")
            if not 1 <= value <= most:
                few = name == "ti" and most < node.code.span(group, group)
                wanted = f"{most} for {self.arithmetic!r} lanes" if few else f"between 1 and {most}"
                raise ValueError(f"{node.name}: {name} must be {wanted}, not {value}")

        width = self.ti * self.to * node.code.field_bits
        if width > MOST_WORD_BITS:
            raise ValueError(f"{node.name}: lane word must have at most {MOST_WORD_BITS} bits, not {width}")
        if node.code.lane_shape not in (None, (self.ti, self.to)):
            ti, to = node.code.lane_shape
            raise ValueError(f"{node.name}: code is for {ti}×{to} lanes, not {self.ti}×{self.to}")

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.ti * self.to * self.p

    @property
    def span(self) -> int:
        """Input channels of one pixel that are read at once."""
        return self.node.code.span(self.ti, self.node.ci // self.node.groups)

    @property
    def ci_tiles(self) -> int:
        """Reads of `span` channels that cover one pixel of a group."""
        return ceil_div(self.node.ci // self.node.groups, self.span)

    @property
    def co_tiles(self) -> int:
        """Output-channel tiles of all groups."""
        return self.node.groups * ceil_div(self.node.co // self.node.groups, self.to)

    @property
    def chunks(self) -> int:
        """Epilogue steps per pixel of a tile."""
        return ceil_div(self.to, self.e)

    @property
    def drain(self) -> int:
        """Cycles in which the epilogue empties a tile: the least cycles a tile can take."""
        return self.p * self.chunks

    @property
    def pause(self) -> int:
        """Cycles before every tile in which the lanes of the tile before are emptied and nothing is issued."""
        return self.drain * self.node.code.sum_cycles(self.arithmetic)

    @cached_property
    def blocks(self) -> list[Block]:
        """Blocks of a row."""
        return blocks(self.node.x, self.p)

    @cached_property
    def rows(self) -> list[RowNeeds]:
        """Input rows needed by every output row."""
        return row_needs(self.node.y)

    @cached_property
    def tap_issues(self) -> np.ndarray:
        """Issues of every (co tile, vertical tap, horizontal tap)."""
        return self.node.code.tap_issues(self.ti, self.to, self.node.groups)

    @cached_property
    def _tiles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Issues of every kind of tile (row, block, co tile), blocks and co tiles that are alike; and how many they are.

        A tile without any tap has one issue that loads zero.
        """
        node = self.node
        rows = _incidence(node.y.kernel, [[k for k, _ in taps] for taps in node.y.table])
        columns = _incidence(node.x.kernel, [[tap.k for tap in block.taps] for block in self.blocks])
        columns, alike_blocks = np.unique(columns, axis=0, return_counts=True)
        taps, alike_tiles = np.unique(self.tap_issues, axis=0, return_counts=True)
        issues = np.einsum("yk,tkx,bx->ybt", rows, taps, columns, optimize=True)
        return np.maximum(issues, 1), alike_blocks, alike_tiles

    @property
    def shortest_tile(self) -> int:
        """Fewest issues of a tile."""
        return int(self._tiles[0].min())

    @cached_property
    def row_costs(self) -> list[int]:
        """Cycles of every output row."""
        issues, blocks, tiles = self._tiles
        return (np.maximum(issues + self.pause, self.drain) @ tiles @ blocks).tolist()

    @property
    def issues(self) -> int:
        """Issues per image."""
        issues, blocks, tiles = self._tiles
        return int((issues @ tiles @ blocks).sum())

    @property
    def cycles(self) -> int:
        """Cycles per image while nothing outside the engine holds it up: the closed form."""
        return sum(self.row_costs)

    @cached_property
    def least_depth(self) -> int:
        """Rows a ring must hold so that every output row can start."""
        return max(1, *(row.window for row in self.rows))
