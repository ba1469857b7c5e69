# amaranth: UnusedElaboratable=no
"""The whole AXI top in Verilator, driven by cocotbext-axi, which nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from organza.formats import Managed
from organza.host_protocol import element_bytes, tensor_bytes
from organza.plan import Plan
from organza.program import Program
from organza.program_file import program_hash
from organza_hw.axi.top import TOP, AxiTop
from organza_hw.boards.top import Generator
from organza_hw.build import TOP as GENERATOR
from organza_hw.build import build
from organza_hw.verilog import to_verilog
from organza_sim.cocotb_runner import run_bench
from organza_sim.planner import plan_program
from tests.tiny import LANES, tiny_inputs, tiny_program

pytestmark = pytest.mark.rtl
BENCH = "tests.organza_hw.axi.bench"
TESTS = {"registers": 2, "images": 3, "frame_errors": 2, "soft_resets": 2, "abandoned": 1, "reset": 1}


def verilog(program: Program, plan: Plan, folder: Path) -> str:
    """Of the top and the accelerator in it; memory images are in the folder."""
    chip = build(program, plan)
    for name, text in chip.files.items():
        (folder / name).write_text(text)
    return to_verilog(AxiTop(program, plan, Generator(program, plan, GENERATOR)), TOP) + chip.verilog()


def parameters(program: Program, plan: Plan, x: np.ndarray) -> dict:
    """What the bench must see."""
    identity = {}
    for name, shape, form in (("INPUT", program.input_shape, program.input), ("OUTPUT", program.output_shape, program.output)):
        identity[f"{name}_CHANNELS"] = {"channels": shape[0], "bytes": element_bytes(form)}
        identity[f"{name}_SIZE"] = {"height": shape[1], "width": shape[2]}
    return {
        "inputs": [tensor_bytes(one, program.input).hex() for one in x],
        "outputs": [tensor_bytes(one, program.output).hex() for one in program.run(x)],
        "identity": identity, "program": program_hash(program), "exponents": [],
        "patience": 500 + 5 * plan.cycles, "span": plan.cycles + 4 * plan.interval,
    }  # fmt: skip


def test_tiny(tmp_path: Path) -> None:
    program = tiny_program()
    plan = plan_program(program, LANES)
    results = run_bench(
        verilog(program, plan, tmp_path), TOP, BENCH, parameters=parameters(program, plan, tiny_inputs(6)), hdl_clock=False, folder=tmp_path,
    )  # fmt: skip
    names = [result.name.rpartition(".")[2].partition("/")[0] for result in results]
    assert {name: names.count(name) for name in names} == TESTS
