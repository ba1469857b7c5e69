"""Block RAMs of ECP5 with the registers behind them inside, as vendors' tools pack them and Yosys does not.

The output of a DP16KD comes 5.6 ns after the clock at speed grade 6, that of its own output register 0.9 ns (nextpnr's timing data).
Only a port that reads in every cycle is changed: a register outside then sees exactly what one inside does.
"""

from __future__ import annotations

from typing import Any

Cell = dict[str, Any]
MEMORY, REGISTER = "DP16KD", "TRELLIS_FF"
_WORD = 18  # outputs of a port; a word of 36 bits leaves through both


def absorb(netlist: dict[str, Any], top: str) -> int:
    """Move registers of `top` into block RAMs, in the netlist that Yosys writes as JSON; how many registers that takes out.

    A port's registers move if every output bit that is used has one register and nothing else, all with the clock of the port,
    without clock enable and reset, starting at zero.
    """
    cells: dict[str, Cell] = netlist["modules"][top]["cells"]
    readers = _readers(netlist["modules"][top])
    absorbed = 0
    for memory in [cell for cell in cells.values() if cell["type"] == MEMORY]:
        for ports in _reading(memory):
            found = _behind(memory, ports, cells, readers)
            if not found:
                continue
            for port in ports:
                memory["parameters"][f"REGMODE_{port}"] = "OUTREG"
            memory["connections"][f"OCE{ports[0]}"] = ["1"]
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
    if memory["connections"].get(f"CE{first}") != ["1"] or memory["parameters"][f"REGMODE_{first}"] != "NOREG":
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
        parameters.get("CLKMUX", "CLK") == "CLK" and parameters.get("CEMUX", "1").strip() == "1"
        and ties.get("LSR", ["0"]) == ["0"] and parameters.get("REGSET", "RESET") == "RESET"
    )  # fmt: skip
