"""`organza build --axi`: a top for blocks that speak AXI, in a folder that is complete or absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve, Program
from organza.program_file import save_program
from organza.register_texts import c_header, markdown
from organza_sim.build_folder import load_build
from organza_sim.verilator import compile_verilog
from tests.organza.commands.command_line import refused, run

FILES = {"axi_top.v", "organza_registers.h", "registers.md"}


@pytest.mark.rtl
def test_what_is_written(here: Path) -> None:
    assert run("build", "p.safetensors", "--lanes", "6", "-o", "plain").exit_code == 0
    result = run("build", "p.safetensors", "--lanes", "6", "--axi", "-o", "out")
    assert result.exit_code == 0, result.output
    plain, more = ({path.name for path in (here / name).iterdir()} for name in ("plain", "out"))
    assert more - plain == FILES
    assert (here / "out/organza_registers.h").read_text() == c_header() and (here / "out/registers.md").read_text() == markdown()
    assert all(name in (here / "out/README.txt").read_text() for name in FILES)
    # The two Verilog files are all that the top needs.
    texts = [(here / "out" / name).read_text() for name in ("axi_top.v", "generator.v")]
    cpp = '#include "Vtop.h"\nint main() { Vtop top; top.aclk = 0; top.eval(); return top.m_axis_tvalid; }\n'
    assert compile_verilog(texts, "axi_top", cpp={"main.cpp": cpp}).exists()
    assert load_build(here / "out").edited == ()


@pytest.mark.parametrize("name", sorted(FILES - {"registers.md"}))
def test_edits_are_found(here: Path, name: str) -> None:
    assert run("build", "p.safetensors", "--lanes", "6", "--axi", "-o", "out").exit_code == 0
    with (here / "out" / name).open("a") as file:
        file.write("// mine\n")
    assert load_build(here / "out").edited == (name,)
    refused(f"{name} was edited since the build; build again", "synth", "out", "--board", "ulx3s-85f", "-o", "board")
    (here / "out" / name).unlink()
    refused(f"{name}: no such file; build again", "verify", "out")
    assert name in json.loads((here / "out/files.json").read_text())


def wide_program() -> Program:
    """A layer of 130 channels, which one beat holds."""
    point, form = Axis(size=1, kernel=1), Fixed(8, True, 1.0)
    one = np.ones(1, np.int64)
    rule = Epilogue(0 * one, one, one, 0 * one, -128, 127)
    return Program((Convolve(name="wide", y=point, x=point, groups=1, code=Linear(np.ones((130, 1, 1, 1), np.int64)), epilogue=rule,
                             input=form, output=form),))  # fmt: skip


def test_a_beat_that_is_too_wide(here: Path) -> None:
    save_program(wide_program(), "wide.safetensors")
    assert run("build", "wide.safetensors", "--lanes", "130", "-o", "plan").exit_code == 0
    plan = json.loads((here / "plan/plan.json").read_text())
    plan["joints"][0]["n"] = 130
    (here / "plan.json").write_text(json.dumps(plan))
    message = r"--axi: Beats of an AXI stream must have at most 128 bytes, not 130; fewer --lanes, or a --plan with narrower joints"
    refused(message, "build", "wide.safetensors", "--plan", "plan.json", "--axi", "-o", "out")
    assert not (here / "out").exists()
