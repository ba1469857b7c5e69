"""The two orders in which an engine can visit a layer: what is issued when, and which input rows must be there.

An output *unit* is what an engine finishes before it sends any of it: a row in row order, an image in weight order.
Everything here is static. The gateware turns it into tables and counters, the cycle model adds it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from organza.blocks import Phase, phases
from organza.geometry import Axis

if TYPE_CHECKING:
    from organza.schedule import Schedule


@dataclass(frozen=True)
class Needs:
    """Input rows of one output unit.

    window : rows that must have arrived, counted from the oldest row still held, before the unit may start.
    release : oldest rows that are no longer needed once the unit has been read.
    """

    window: int
    release: int


def row_needs(axis: Axis) -> list[Needs]:
    """`Needs` of every output row.

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
        made.append(Needs(max(needed - held[y], 0), held[y + 1] - held[y]))
    return made


def _incidence(kernel: int, taps: list[list[int]]) -> np.ndarray:
    """1 where entry n has tap k, int64, shape (entries, kernel)."""
    made = np.zeros((len(taps), kernel), np.int64)
    for number, chosen in enumerate(taps):
        made[number, chosen] = 1
    return made


class PhaseSizes(NamedTuple):
    """How many blocks the phases of an axis have.

    blocks : int64 (phases,). with_tap : those that have each tap, int64 (phases, kernel).
    """

    blocks: np.ndarray
    with_tap: np.ndarray

    @classmethod
    def of(cls, found: list[Phase], kernel: int) -> PhaseSizes:
        """Sizes of these phases."""
        with_tap = [_incidence(kernel, [[tap.k for tap in block.taps] for block in phase.blocks]).sum(0) for phase in found]
        return cls(np.array([len(phase.blocks) for phase in found]), np.stack(with_tap))


def tile_issues(rows: PhaseSizes, columns: PhaseSizes, tap_issues: np.ndarray) -> np.ndarray:
    """Issues in weight order of every (co tile, phase of rows, of columns); one where no tap exists."""
    issues = np.einsum("yk,tkx,bx->tyb", rows.with_tap, tap_issues, columns.with_tap, optimize=True)
    return np.maximum(issues, 1)


def spans(tiles: np.ndarray, drains: np.ndarray) -> tuple[int, int]:
    """`WeightVisit.spans` for issues and drains of all tiles."""
    issues, waits = tiles.reshape(-1), drains.reshape(-1)
    rest = int(np.maximum(issues[1:], waits[:-1]).sum())
    return int(issues[0]) + rest, int(waits[-1]) + rest


class RowVisit:
    """Row order: every output row, co tile and block of P pixels is a tile, whose taps and lane words are issued together.

    issues, unit_costs : issues of an image; cycles of every unit.
    """

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        self.unit_rows = 1

    @cached_property
    def needs(self) -> list[Needs]:
        """Input rows of every unit."""
        return row_needs(self.schedule.node.y)

    @cached_property
    def _tiles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Issues of every kind of tile (row, block, co tile), blocks and co tiles that are alike; and how many they are.

        A tile without any tap has one issue that loads zero.
        """
        node = self.schedule.node
        rows = _incidence(node.y.kernel, [[k for k, _ in taps] for taps in node.y.table])
        columns = _incidence(node.x.kernel, [[tap.k for tap in block.taps] for block in self.schedule.blocks])
        columns, alike_blocks = np.unique(columns, axis=0, return_counts=True)
        taps, alike_tiles = np.unique(self.schedule.tap_issues, axis=0, return_counts=True)
        issues = np.einsum("yk,tkx,bx->ybt", rows, taps, columns, optimize=True)
        return np.maximum(issues, 1), alike_blocks, alike_tiles

    @property
    def drain(self) -> int:
        """Cycles in which the epilogue empties a tile: the least cycles a tile can take."""
        return -(-self.schedule.p // self.schedule.g) * self.schedule.chunks

    @property
    def pause(self) -> int:
        """Cycles before every tile in which the lanes of the tile before are emptied and nothing is issued."""
        return self.drain * self.schedule.node.code.sum_cycles(self.schedule.arithmetic)

    @property
    def shortest_tile(self) -> int:
        """Fewest issues of a tile."""
        return int(self._tiles[0].min())

    @property
    def waits(self) -> bool:
        """Is there a tile whose last issue must wait until the tile before has been emptied?"""
        return self.shortest_tile < self.drain

    @cached_property
    def unit_costs(self) -> list[int]:
        issues, blocks, tiles = self._tiles
        return (np.maximum(issues + self.pause, self.drain) @ tiles @ blocks).tolist()

    @property
    def issues(self) -> int:
        issues, blocks, tiles = self._tiles
        return int((issues @ tiles @ blocks).sum())


class WeightVisit:
    """Weight order: every co tile and phase is a tile of partial sums, each of whose lane words is issued for all pixels
    that use it before the next one is.

        for every co tile: for every phase of rows, of columns: for every vertical tap, horizontal tap, lane word (a pass):
            for every row that has the tap, for every block that has it: one issue

    Members as of `RowVisit`, and
    rows, columns : phases of the two axes; a row is a block of one.
    pitch, places : places for sums between a row of a phase and the next, and of a whole phase.
    """

    pause = 0

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        node = schedule.node
        self.unit_rows = node.y.output
        self.needs = [Needs(node.y.size, node.y.size)]
        self.rows, self.columns = phases(node.y, 1), phases(node.x, schedule.p)
        self.pitch = max(len(phase.blocks) for phase in self.columns)
        self.places = self.pitch * max(len(phase.blocks) for phase in self.rows)

    @cached_property
    def _sizes(self) -> tuple[PhaseSizes, PhaseSizes]:
        node = self.schedule.node
        return PhaseSizes.of(self.rows, node.y.kernel), PhaseSizes.of(self.columns, node.x.kernel)

    @cached_property
    def tiles(self) -> np.ndarray:
        """Issues of every tile (co tile, phase of rows, of columns). A tile without any tap has one issue that loads zero."""
        return tile_issues(*self._sizes, self.schedule.tap_issues)

    @cached_property
    def drains(self) -> np.ndarray:
        """Cycles in which the epilogue empties every tile, shape as `tiles`."""
        rows, columns = self._sizes
        steps = np.outer(rows.blocks, columns.blocks) * self.schedule.p * self.schedule.chunks
        return np.broadcast_to(steps, self.tiles.shape)

    @property
    def waits(self) -> bool:
        return bool((self.tiles.reshape(-1) < np.roll(self.drains.reshape(-1), 1)).any())

    @property
    def drain(self) -> int:
        return int(self.drains[-1, -1, -1])

    @property
    def issues(self) -> int:
        return int(self.tiles.sum())

    @cached_property
    def spans(self) -> tuple[int, int]:
        """Cycles of an image, from its first issue to its last; and those from the last issue of the image before.

        The last issue of a tile waits until the tile before has been emptied, so an image takes the larger one, counted
        from where it starts.
        """
        return spans(self.tiles, self.drains)

    @property
    def unit_costs(self) -> list[int]:
        return [max(self.spans)]

    @cached_property
    def passes(self) -> list[list[int]]:
        """Issues of every pass, tile by tile; nothing for a tile without any tap."""
        return [
            [
                len(rows.taps[ky]) * len(columns.taps[kx])
                for ky in rows.taps for kx in columns.taps for _ in range(number[ky][kx])
            ]
            for number in self.schedule.tap_issues.tolist() for rows in self.rows for columns in self.columns
        ]  # fmt: skip

    @cached_property
    def taps(self) -> list[tuple[int, int]]:
        """(ky, kx) in the order of their use for a co tile; of a layer in which none exists, the first one."""
        used = [(ky, kx) for rows in self.rows for columns in self.columns for ky in rows.taps for kx in columns.taps]
        return used or [(0, 0)]


VISITS = {"row": RowVisit, "weight": WeightVisit}
