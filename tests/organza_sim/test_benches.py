"""cocotb benches on generated Verilog in Verilator: layers, pipelines and the shipped model."""

import re
from pathlib import Path

import numpy as np
import pytest

import organza
from organza_hw.build import TOP, build
from organza_sim.api import joint_beats
from organza_sim.beats import to_beats
from organza_sim.cocotb_runner import BenchError, run_bench
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import DEFAULT_LANES, plan_program
from tests.organza_sim.layer_cases import case
from tests.shared_engines import shared_case

pytestmark = pytest.mark.rtl
BENCH = "organza_sim.benches.images"
CHECKPOINT = Path(organza.__file__).parent / "assets" / "dcgan32-w16.safetensors"


def bench(program, plan, x, folder, *, cycles=None, wanted=None):
    """Run the bench on the accelerator; `cycles` and `wanted` replace what should come."""
    chip = build(program, plan)
    for name, text in chip.files.items():
        (folder / name).write_text(text)
    wanted = program.run(x) if wanted is None else wanted
    names = ("beats", "last", "wanted", "wanted_last")
    arrays = (*to_beats(x, plan.joints[0].n), *to_beats(wanted, plan.joints[-1].n))
    for name, array in zip(names, arrays, strict=True):
        np.save(folder / f"{name}.npy", array)
    model = simulate_cycles(program, plan, len(x))
    first, *_, final = joint_beats(chip)
    parameters = {
        "data": str(folder),
        "i": [first.n, first.width, first.signed],
        "o": [final.n, final.width, final.signed],
        "cycles": model.cycles if cycles is None else cycles,
        "patience": 50 * sum(schedule.cycles for schedule in plan.schedules(program)) + 1000,
    }
    return run_bench(chip.verilog(), TOP, BENCH, parameters=parameters, folder=folder)


@pytest.mark.parametrize("seed", [2, 4, 5])
def test_layer(tmp_path, seed):
    chosen = case(seed)
    results = bench(chosen.program, chosen.plan, chosen.x, tmp_path)
    assert [result.name.split(".")[-1] for result in results] == ["free", "stalled"]


def test_pipeline(tmp_path):
    chosen = case(1, layers=3)
    assert len(bench(chosen.program, chosen.plan, chosen.x, tmp_path)) == 2


def test_layers_that_share_an_engine(tmp_path):
    chosen = shared_case(7, alone=False)
    assert len(bench(chosen.program, chosen.plan, chosen.x, tmp_path)) == 2


def test_faults_are_found(tmp_path):
    chosen = case(2)
    model = simulate_cycles(chosen.program, chosen.plan, len(chosen.x))
    message = rf"{model.cycles} cycles instead of {model.cycles - 1}"
    with pytest.raises(BenchError, match=f"(?s)has 1 failing tests:.*{re.escape(message)}"):
        bench(chosen.program, chosen.plan, chosen.x, tmp_path, cycles=model.cycles - 1)
    wrong = chosen.program.run(chosen.x)
    wrong[-1, -1, -1, -1] ^= 1
    with pytest.raises(BenchError, match="(?s)has 2 failing tests:.*1 beats are wrong"):
        bench(chosen.program, chosen.plan, chosen.x, tmp_path, wanted=wrong)


@pytest.mark.full
def test_shipped_model(tmp_path):
    noise = np.random.default_rng(0).standard_normal((64, 64, 1, 1))
    program = organza.lower(CHECKPOINT, noise)
    plan = plan_program(program, DEFAULT_LANES)
    x = program.quantize(noise[:2])
    assert plan.interval == 7840
    assert len(bench(program, plan, x, tmp_path)) == 2
