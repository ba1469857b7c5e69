"""What Yosys makes of a memory for ECP5: block RAMs, LUT RAM, or logic.

Its choice (`memory_libmap`) is the cheapest of the RAMs in its library, with points for the choices around them; the rules here are those of
that pass for one write and one read port, and of `organza_sim.deep_memories` in front of it. Source: passes/memory/memory_libmap.cc and
techlibs/lattice/{brams_16kd,lutrams_trellis}.txt of Yosys.
"""

from __future__ import annotations

from dataclasses import dataclass

from organza_sim.deep_memories import DEPTHS

ADDRESS_BITS = 14  # of a DP16KD with words of one bit
WIDTHS = (1, 2, 4, 9, 18, 36)
BYTE = 9
BLOCK_COST, LUT_RAM_COST, ROM_BIT_COST = 128, 4, 1 / 16
LUT_RAM_WORDS, LUT_RAM_WIDTH = 16, 4
MUX_COST = DEMUX_COST = 0.5
PORT_COST = 2  # of a read port of its own


@dataclass(frozen=True)
class Mapping:
    """What a memory becomes.

    block_rams, lut_rams : DP16KD and TRELLIS_DPR16X4; neither, if it becomes logic. parts : pieces of its depth, between which a
    choice follows.
    """

    block_rams: int = 0
    lut_rams: int = 0
    parts: int = 1


LOGIC = Mapping()


def map_memory(width: int, depth: int, *, enables: tuple[int, ...] | None, clocked: bool = True) -> Mapping:
    """What a memory of `depth` words of `width` bits with one read port becomes.

    enables : by bit what enables its writing, equal where it is the same; None for a read-only memory. clocked : the read port.
    """
    if not width:
        return LOGIC
    if enables is None and clocked:
        for bits in sorted(DEPTHS):
            if depth > DEPTHS[bits]:
                found = _deep(width, depth, bits)
                if found:
                    return found
    best, cost = LOGIC, int(width * depth * (ROM_BIT_COST if enables is None else 1))
    options = [_lut_ram(width, depth, enables)] if enables is not None else []
    options += [_block_ram(width, depth, enables)] if clocked else []
    for mapping, price in options:
        if price < cost:
            best, cost = mapping, int(price)
    return best


def _deep(width: int, depth: int, bits: int) -> Mapping | None:
    """By a library of one shape, if that is cheaper than logic."""
    parts = -(-depth // (1 << ADDRESS_BITS))
    count = -(-parts * width // bits)
    price = BLOCK_COST * count + PORT_COST + (parts - 1) * width * MUX_COST
    return Mapping(block_rams=count, parts=parts) if price < int(width * depth * ROM_BIT_COST) else None


def _slots(width: int, enables: tuple[int, ...] | None, byte: int) -> int:
    """Bits that a word takes where bits with other enables begin a new byte."""
    if enables is None:
        return width
    taken = 0
    for bit in range(width):
        if bit == 0 or enables[bit] != enables[bit - 1]:
            taken = -(-taken // byte) * byte
        taken += 1
    return -(-taken // byte) * byte


def _around(width: int, parts: int, enables: tuple[int, ...] | None) -> float:
    """Points for what is chosen in front of and behind a memory in parts."""
    demux = parts * len(set(enables)) if enables is not None and parts > 1 else 0
    return (parts - 1) * width * MUX_COST + demux * DEMUX_COST + PORT_COST


def _block_ram(width: int, depth: int, enables: tuple[int, ...] | None) -> tuple[Mapping, float]:
    """The cheapest shape, the narrower of two that cost the same; of both kinds of port."""
    best: tuple[Mapping, float] | None = None
    for widest in (4, 5):  # two ports of up to 18 bits; one that writes 36 bits and one that reads up to as many
        cheapest: tuple[Mapping, float] | None = None
        for number, bits in enumerate(WIDTHS[: widest + 1]):
            if widest == 5 and enables is not None and bits < BYTE:
                continue  # a byte is the least that is written
            byte = 1 if enables is None else min(BYTE, bits)
            parts = -(-depth // (1 << ADDRESS_BITS - number))
            count = -(-parts * _slots(width, enables, byte) // bits)
            price = BLOCK_COST * count + _around(width, parts, enables)
            if cheapest is None or price < int(cheapest[1]):
                cheapest = Mapping(block_rams=count, parts=parts), price
        assert cheapest is not None
        if best is None or cheapest[1] < best[1]:
            best = cheapest
    assert best is not None
    return best


def _lut_ram(width: int, depth: int, enables: tuple[int, ...]) -> tuple[Mapping, float]:
    parts = -(-depth // LUT_RAM_WORDS)
    count = parts * _slots(width, enables, LUT_RAM_WIDTH) // LUT_RAM_WIDTH
    return Mapping(lut_rams=count, parts=parts), LUT_RAM_COST * count + _around(width, parts, enables)
