"""What a component takes of a device, as cells, and what of its values are made by such cells."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from organza_sim.resources import memories


@dataclass
class Contents:
    """What a component takes.

    luts : of gates, packed. rom_luts : likewise, of read-only memories. pairs : CCU2C, of two bits each. chains : of them. short : bits of adders without a chain. registers : bits.
    multipliers, block_rams, lut_rams : cells. memories : by name what each became.
    """

    luts: int = 0
    rom_luts: int = 0
    pairs: int = 0
    chains: int = 0
    short: int = 0
    registers: int = 0
    multipliers: int = 0
    lut_rams: int = 0
    block_rams: int = 0
    memories: dict[str, memories.Mapping] = field(default_factory=dict)

    def __add__(self, other: Contents) -> Contents:
        made = {one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self) if one.name != "memories"}
        return Contents(**made, memories={**self.memories, **other.memories})


@dataclass(eq=False)
class Owner:
    """What makes values out of others, but for gates: a register, a memory, a carry chain, a module of Verilog's own.

    needs : literals that it takes. cells : what it counts as, by field of `Contents`. name, mapping : of a memory.
    """

    needs: list[int] = field(default_factory=list)
    cells: dict[str, int] = field(default_factory=dict)
    name: str = ""
    mapping: memories.Mapping | None = None


@dataclass(eq=False)
class Chain(Owner):
    """An adder or a comparison. operands : a, then b. outputs : of an adder as many bits; of a comparison, which needs all bits, one.

    used : lowest bits that are needed.
    """

    operands: tuple[int, ...] = ()
    outputs: list[int] = field(default_factory=list)
    used: int = 0

    def want(self, literal: int) -> list[int]:
        """Operands that are needed for one more output."""
        width = len(self.operands) // 2
        before, self.used = self.used, max(self.used, self.outputs.index(literal) + 1 if len(self.outputs) > 1 else width)
        return [*self.operands[before : self.used], *self.operands[width + before : width + self.used]]
