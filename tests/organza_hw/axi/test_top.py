# amaranth: UnusedElaboratable=no
"""The whole AXI top in Verilator, driven by cocotbext-axi, which nobody here wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.host_protocol import element_bytes, tensor_bytes
from organza.plan import Plan
from organza.program import Program
from organza.program_file import program_hash
from organza_hw.axi import top
from organza_hw.axi.frame_store import FrameStore
from organza_hw.axi.gates import InputGate, OutputGate
from organza_hw.axi.top import TOP, AxiTop, axi_verilog
from organza_hw.build import build
from organza_hw.pipeline import Pipeline
from organza_hw.verilog import to_verilog
from organza_sim.cocotb_runner import BenchError, run_bench
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.status import FIELDS, expected_status
from tests.formal.shell import mutated
from tests.organza_hw.axi.loading import Loading
from tests.organza_sim.test_managed import managed_case
from tests.plans import random_plan
from tests.repeated import some_now
from tests.strategies import random_input, random_program
from tests.tiny import LANES, tiny_inputs, tiny_program

pytestmark = pytest.mark.rtl
BENCH, LOAD_BENCH = "tests.organza_hw.axi.bench", "tests.organza_hw.axi.load_bench"
IMAGES, RUNS, RUN = 16, 8, 5
TESTS = {"registers": 2, "images": 3, "frame_errors": 2, "soft_resets": 2, "abandoned": 1, "reset": 1}


def verilog(program: Program, plan: Plan, folder: Path) -> str:
    """Of the top and the accelerator in it; memory images are in the folder."""
    chip = build(program, plan)
    for name, text in chip.files.items():
        (folder / name).write_text(text)
    return axi_verilog(program, plan) + chip.verilog()


def data(program: Program, plan: Plan, x: np.ndarray) -> dict:
    """What the bench must see."""
    identity = {}
    for name, shape, form in (("INPUT", program.input_shape, program.input), ("OUTPUT", program.output_shape, program.output)):
        identity[f"{name}_CHANNELS"] = {"channels": shape[0], "bytes": element_bytes(form)}
        identity[f"{name}_SIZE"] = {"height": shape[1], "width": shape[2]}

    def outputs(numbers: list[int]) -> list[str]:
        return [tensor_bytes(one, program.output).hex() for one in program.run(x[numbers])]

    runs = np.random.default_rng(2).integers(0, len(x), (RUNS, RUN)).tolist()
    model, whole, exponents = simulate_cycles(program, plan, RUN), simulate_cycles(program, plan, len(x)), []
    for joint, found in enumerate(program.trace(x).exponents, 1):
        if found is not None:
            exponents.append([joint, dict(zip(FIELDS, expected_status(found)[-1].tolist(), strict=True))])
    return {
        "inputs": [tensor_bytes(one, program.input).hex() for one in x], "outputs": outputs([*range(len(x))]),
        "identity": identity, "program": program_hash(program), "exponents": exponents,
        "runs": [[run, {k: outputs(run[-k:]) if k else [] for k in range(RUN + 1)}] for run in runs],
        "cycles": whole.sent[-1] - whole.first, "patience": 500 + 5 * model.latency, "span": model.sent[-1] - model.first,
    }  # fmt: skip


def check(program: Program, plan: Plan, x: np.ndarray, folder: Path) -> None:
    (folder / "data.json").write_text(json.dumps(data(program, plan, x)))
    results = run_bench(
        verilog(program, plan, folder), TOP, BENCH, parameters={"data": str(folder / "data.json")}, hdl_clock=False, folder=folder,
    )  # fmt: skip
    names = [result.name.removeprefix(f"{BENCH}.").partition("/")[0] for result in results]
    assert {name: names.count(name) for name in names} == TESTS


@pytest.mark.parametrize("component, old, new, message", [
    pytest.param(OutputGate, "m.If(free)", "m.If(free | self.reset)", "m_axis withdraws what it offered", marks=pytest.mark.full),
    pytest.param(OutputGate, "self.o.payload.keep.eq(0)", "self.o.payload.keep.eq(-1)", "soft_resets", marks=pytest.mark.full),
    pytest.param(InputGate, "skip.eq(self.open)", "skip.eq(0)", "abandoned", marks=pytest.mark.full),
    (FrameStore, "short.eq(i.last & ~at_end", "short.eq(0", "frame_errors"),
])  # fmt: skip
def test_faults_are_found(component, old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, component.__name__, mutated(component, old, new))
    with pytest.raises(BenchError, match=f"(?s)failing tests:.*{message}"):
        check(tiny_program(), plan_program(tiny_program(), LANES), tiny_inputs(IMAGES), tmp_path)


def test_loaded_weights(tmp_path: Path) -> None:
    """Any accelerator that loads its weights; here one that computes with others."""
    program = tiny_program()
    plan = plan_program(program, LANES)
    chip = to_verilog(AxiTop(program, plan, Loading(Pipeline(program, plan, files=False))), TOP)
    (tmp_path / "data.json").write_text(json.dumps(data(program, plan, tiny_inputs(IMAGES))))
    results = run_bench(chip, TOP, LOAD_BENCH, parameters={"data": str(tmp_path / "data.json")}, hdl_clock=False, folder=tmp_path)
    assert [result.name.removeprefix(f"{LOAD_BENCH}.").partition("/")[0] for result in results] == 2 * ["loaded"] + 2 * ["reloaded"]


def test_tiny(tmp_path: Path) -> None:
    """Words of two bytes in, of one out."""
    check(tiny_program(), plan_program(tiny_program(), LANES), tiny_inputs(IMAGES), tmp_path)


@pytest.mark.parametrize("seed", some_now([0, 6, 7], 1))
def test_random(seed: int, tmp_path: Path) -> None:
    """Beats and words of any sizes, that end anywhere in each other, integers of one bit to sixteen."""
    rng = np.random.default_rng(seed)
    program = random_program(rng, 2, max_size=4, max_channels=7)
    check(program, random_plan(rng, program, max_lanes=8), random_input(rng, program, IMAGES), tmp_path)


@pytest.mark.full
def test_managed_exponents(tmp_path: Path) -> None:
    """Registers say what became of the latest image."""
    chosen = managed_case(3, images=IMAGES)
    check(chosen.program, chosen.plan, chosen.x, tmp_path)
