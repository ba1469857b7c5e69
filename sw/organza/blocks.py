"""Output positions of an axis in blocks of one phase, and the taps that each block has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from organza.geometry import Axis


@dataclass(frozen=True)
class BlockTap:
    """One tap of a block: kernel position, input position of lane 0, and the lanes where it exists."""

    k: int
    position: int
    mask: tuple[bool, ...]


@dataclass(frozen=True)
class Block:
    """Up to P output positions ``first, first + phases, …`` and the union of their taps."""

    first: int
    pixels: int
    taps: tuple[BlockTap, ...]


@dataclass(frozen=True)
class Phase:
    """All blocks of positions that use the same taps, except at the borders of the map."""

    blocks: tuple[Block, ...]

    @cached_property
    def taps(self) -> dict[int, list[tuple[int, BlockTap]]]:
        """By tap that any block has, rising: the blocks that have it, by number, and what they read."""
        made: dict[int, list[tuple[int, BlockTap]]] = {}
        for number, block in enumerate(self.blocks):
            for tap in block.taps:
                made.setdefault(tap.k, []).append((number, tap))
        return dict(sorted(made.items()))


def phases(axis: Axis, p: int) -> list[Phase]:
    """All positions of an axis, phase by phase, in blocks of at most `p`."""
    made = []
    for phase in range(min(axis.phases, axis.output)):
        positions = range(phase, axis.output, axis.phases)
        found = []
        for start in range(0, len(positions), p):
            chosen = positions[start : start + p]
            existing = [dict(axis.table[x]) for x in chosen]
            taps = []
            for k in sorted(set().union(*existing)):
                position = (chosen[0] * axis.down + axis.crop_before - k) // axis.up
                mask = tuple(lane < len(chosen) and k in existing[lane] for lane in range(p))
                taps.append(BlockTap(k, position, mask))
            found.append(Block(chosen[0], len(chosen), tuple(taps)))
        made.append(Phase(tuple(found)))
    return made


def blocks(axis: Axis, p: int) -> list[Block]:
    """Blocks of one output row, phase by phase, of at most `p` pixels."""
    return [block for phase in phases(axis, p) for block in phase.blocks]
