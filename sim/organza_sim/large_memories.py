"""Which memories that are loaded lie in a device's large RAMs, which no bitstream fills (iCE40 UP5K: four of 16 bits × 16,384).

A memory takes as many RAMs side by side as its words are wide, each with one port; `organza_hw.rom` has the netlist of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from organza.board import Device
from organza.schedule import ceil_div

MODEL = Path(__file__).with_name("spram.v")  # for simulation; synthesis has the cell


def choose(device: Device, memories: Mapping[str, tuple[int, int]]) -> list[str]:
    """Names of the memories, given as width and depth, that go into large RAMs: those that would fill most block RAMs first.

    One that fits a single block RAM stays there.
    """
    left, chosen = device.large_rams, []
    if not left:
        return []
    deepest = device.large_ram_bits // device.large_ram_width
    for name, (width, depth) in sorted(memories.items(), key=lambda item: (-item[1][0] * item[1][1], item[0])):
        needed = ceil_div(width, device.large_ram_width)
        if depth <= deepest and width * depth > device.block_ram_bits and needed <= left:
            chosen.append(name)
            left -= needed
    return chosen


def placed(verilog: str, names: list[str]) -> str:
    """The Verilog of a chip with these memories in large RAMs."""
    for name in names:
        parameter = f'.NAME("{name}")'
        if verilog.count(parameter) == 0:
            raise ValueError(f"Verilog must have a memory {name!r}")
        verilog = verilog.replace(parameter, f".LARGE(1), {parameter}")
    return verilog
