"""Block RAMs of ECP5 with the registers behind them inside, as vendors' tools pack them and Yosys does not.

The output of a DP16KD comes 5.6 ns after the clock at speed grade 6, that of its own output register 0.9 ns (nextpnr's timing data).
Only a port that is enabled whenever its registers are is changed: a register outside then sees exactly what one inside does,
whether or not the port's enable stops the latter too.
"""

from __future__ import annotations

from itertools import product
from typing import Any

Cell = dict[str, Any]
MEMORY, REGISTER, LUT = "DP16KD", "TRELLIS_FF", "LUT4"
_WORD = 18  # outputs of a port; a word of 36 bits leaves through both
_LEAVES = 8  # nets that enables may be functions of; more are not looked at
Bit = int | str
_CONSTANTS: dict[Bit, int] = {"0": 0, "1": 1}


def absorb(netlist: dict[str, Any], top: str) -> int:
    """Move registers of `top` into block RAMs, in the netlist that Yosys writes as JSON; how many registers that takes out.

    A port's registers move if every output bit that is used has one register and nothing else, all with the clock of the port
    and one enable, which holds in no cycle in which the port is not enabled, without reset, starting at zero.
    """
    cells: dict[str, Cell] = netlist["modules"][top]["cells"]
    readers, tables = _readers(netlist["modules"][top]), _tables(cells)
    absorbed = 0
    for memory in [cell for cell in cells.values() if cell["type"] == MEMORY]:
        for ports in _reading(memory):
            found = _behind(memory, ports, cells, readers)
            enables = list({_enable(cells[name]) for name in found.values()})
            if len(enables) != 1 or not _implies(enables[0], memory["connections"][f"CE{ports[0]}"][0], tables):
                continue
            for port in ports:
                memory["parameters"][f"REGMODE_{port}"] = "OUTREG"
            memory["connections"][f"OCE{ports[0]}"] = enables
            for output, name in found.items():
                memory["connections"][output] = cells.pop(name)["connections"]["Q"]
            absorbed += len(found)
    return absorbed


def _readers(module: dict[str, Any]) -> dict[int, list[tuple[str, str]]]:
    """Cells and their ports that a net goes to; a port of the module counts as a cell without a name."""
    made: dict[int, list[tuple[str, str]]] = {}
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    made.setdefault(bit, []).append((name, port))
    for port, about in module["ports"].items():
        for bit in about["bits"]:
            made.setdefault(bit, []).append(("", port))
    return made


def _reading(memory: Cell) -> list[str]:
    """Ports whose outputs belong together, the one that reads first: words of 36 bits are read by B and leave through both."""
    wide = int(memory["parameters"]["DATA_WIDTH_B"], 2) == 2 * _WORD
    return ["BA"] if wide else ["A", "B"]


def _behind(memory: Cell, ports: str, cells: dict[str, Cell], readers: dict[int, list[tuple[str, str]]]) -> dict[str, str]:
    """Registers behind outputs, by name of the output; none if they cannot move."""
    first = ports[0]
    if memory["parameters"][f"REGMODE_{first}"] != "NOREG":
        return {}
    clock, found = memory["connections"][f"CLK{first}"], {}
    for port in ports:
        for number in range(_WORD):
            output = f"DO{port}{number}"
            uses = [use for bit in memory["connections"].get(output, []) for use in readers.get(bit, ())]
            if not uses:
                continue
            if len(uses) > 1 or not _plain(cells.get(uses[0][0]), uses[0][1], clock):
                return {}
            found[output] = uses[0][0]
    return found


def _plain(cell: Cell | None, port: str, clock: list[int]) -> bool:
    """Is it the input of a register that copies it with every rising edge, and begins with zero?"""
    if cell is None or cell["type"] != REGISTER or port != "DI" or cell["connections"]["CLK"] != clock:
        return False
    parameters, ties = cell["parameters"], cell["connections"]
    return (
        parameters.get("CLKMUX", "CLK") == "CLK" and parameters.get("CEMUX", "1").strip() in {"1", "CE"}
        and ties.get("LSR", ["0"]) == ["0"] and parameters.get("REGSET", "RESET") == "RESET"
    )  # fmt: skip


def _enable(register: Cell) -> Bit:
    return "1" if register["parameters"].get("CEMUX", "1").strip() == "1" else register["connections"]["CE"][0]


def _tables(cells: dict[str, Cell]) -> dict[Bit, tuple[list[Bit], int]]:
    """Nets that a LUT drives: its inputs, the lowest bit of the table's index first, and its table."""
    luts = [cell for cell in cells.values() if cell["type"] == LUT]
    return {
        cell["connections"]["Z"][0]: ([cell["connections"][port][0] for port in "ABCD"], int(cell["parameters"]["INIT"], 2))
        for cell in luts if cell["connections"].get("Z")
    }  # fmt: skip


def _implies(one: Bit, other: Bit, tables: dict[Bit, tuple[list[Bit], int]]) -> bool:
    """Is net `other` 1 whenever `one` is, as the LUTs that drive them have it? False where that does not show."""

    def inputs(net: Bit) -> list[Bit]:
        return tables[net][0] if net in tables and net in (one, other) else [net]

    # One of the two may be an input of the other, so its inputs count in its place.
    leaves = sorted({leaf for net in (one, other) for bit in inputs(net) for leaf in inputs(bit)} - set(_CONSTANTS), key=str)
    if len(leaves) > _LEAVES:
        return False
    for values in product((0, 1), repeat=len(leaves)):
        known = dict(zip(leaves, values, strict=True)) | _CONSTANTS
        if _value(one, known, tables) and not _value(other, known, tables):
            return False
    return True


def _value(net: Bit, known: dict[Bit, int], tables: dict[Bit, tuple[list[Bit], int]]) -> int:
    if net in known:
        return known[net]
    inputs, table = tables[net]
    return table >> sum(_value(bit, known, tables) << place for place, bit in enumerate(inputs)) & 1
