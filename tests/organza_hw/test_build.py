# amaranth: UnusedElaboratable=no
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from organza_hw.build import TOP, build
from organza_hw.rom import MODULE
from tests.organza_sim.layer_cases import case


@pytest.fixture(scope="module")
def chosen():
    return case(101, layers=3)


@pytest.fixture(scope="module")
def chip(chosen):
    return build(chosen.program, chosen.plan)


def test_verilog_is_complete(chip):
    text = chip.verilog()
    assert text.count(f"\nmodule {TOP}(") == 1
    assert text.count(f"module {MODULE} ") == 1
    for name in chip.files:
        assert f'"{name}"' in text
    assert "/" not in "".join(chip.files)


def test_files_hold_the_words(chosen, chip):
    total = 0
    for number, schedule in enumerate(chosen.schedules):
        lines = chip.files[f"layer{number}_weights.hex"].split()
        words = schedule.node.code.words(schedule.ti, schedule.to, schedule.node.groups)
        assert len(lines) == len(words)
        total += words.size * schedule.node.code.field_bits
    assert chip.memory_bits > total
    assert chip.memory_bits <= sum(4 * len(line) for text in chip.files.values() for line in text.split())
    assert chip.cycles == chosen.plan.cycles


def test_the_same_from_run_to_run(chosen, chip):
    """A pure function: another process with other hashes makes the same bytes."""
    code = ("import hashlib\nfrom organza_hw.build import build\nfrom tests.organza_sim.layer_cases import case\n"
            "chosen = case(101, layers=3)\nchip = build(chosen.program, chosen.plan)\n"
            "print(hashlib.sha256(repr((chip.verilog(), chip.files)).encode()).hexdigest())")  # fmt: skip
    made = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        made.add(done.stdout)
    assert len(made) == 1
    again = build(chosen.program, chosen.plan)
    assert (again.verilog(), again.files) == (chip.verilog(), chip.files)


def test_no_paths_of_this_machine(chip):
    assert os.sep + "organza" not in chip.verilog() and "src =" not in chip.verilog()


def test_importing_gateware_leaves_torch_alone():
    code = "import sys, organza_hw.build; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_plan_that_does_not_fit(chosen):
    with pytest.raises(ValueError, match=r"^Plan must have engines for 3 layers, not 2$"):
        build(chosen.program, replace(chosen.plan, engines=chosen.plan.engines[:2]))
