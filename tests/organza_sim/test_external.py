# amaranth: UnusedElaboratable=no
"""Weights in a memory beside the chip: every bit, every cycle where it does not stall, whatever it loses, up to the commands of a user."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from typer.testing import CliRunner

from organza.cli import app
from organza.codes import CODES
from organza.codes.code import lane_order
from organza.loadable import loadable
from organza.program import Program
from organza.schedule import Schedule
from organza_hw.build import memory_words
from organza_hw.external import memory
from organza_hw.external.memory import PORT, ExternalMemory, external_files
from organza_hw.external.supply import external_words
from organza_sim import api, testbench
from organza_sim.planner import plan_program
from organza_sim.pysim import simulate_pipeline
from organza_sim.rtl import RtlError, random_stalls
from organza_sim.verify import verify
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.organza_sim.test_weight_order import chain
from tests.repeated import some_now
from tests.tiny import tiny_inputs, tiny_program

pytestmark = pytest.mark.rtl
KINDS = [kind for kind in CODES if kind in {"linear", "binary", "ternary", "power", "flexpoint", "codebook", "affine"}]


def outside(chosen: Case, layers: range) -> Case:
    """The same with the weights of these layers beside the chip."""
    engines = [replace(engine, memory="external") if k in layers else engine for k, engine in enumerate(chosen.plan.engines)]
    return replace(chosen, plan=replace(chosen.plan, engines=tuple(engines)))


def drawn(seed: int, *, images: int = 3) -> Case:
    """Two layers in weight order, every code at some seed; the first one's weights outside, those of both at odd seeds."""
    return outside(chain(seed, [KINDS[seed % len(KINDS)], "linear"], ("weight",), images=images, max_macs=1500), range(1 + seed % 2))


def tiny(lanes: int = 8):
    program = tiny_program()
    first = program.nodes[0].name
    return program, plan_program(program, lanes, orders={first: "weight"}, memories={first: "external"})


@pytest.mark.parametrize("seed", some_now(range(21), 7))
def test_bits_and_cycles(seed):
    """A memory that does not stall is as good as one on the chip; one that does changes when, and not what."""
    chosen = drawn(seed)
    check_free(chosen)
    check_stalled(chosen, seed)
    late = random_stalls((0.2, 0.6, 0.9)[seed % 3], seed, 97).tolist()
    outputs, run = simulate_pipeline(chosen.program, chosen.plan, chosen.x, late_words=late)
    assert np.array_equal(outputs, chosen.program.run(chosen.x))
    free = simulate_pipeline(chosen.program, chosen.plan, chosen.x)[1]
    assert run.cycles >= free.cycles


def test_the_rate_is_that_of_the_words():
    """One word in 32 cycles."""
    program = Program(tiny_program().nodes[:1])
    name = program.nodes[0].name
    plan = plan_program(program, 2, orders={name: "weight"}, memories={name: "external"})
    x = tiny_inputs(4)
    (schedule,) = plan.schedules(program)
    _, slow = simulate_pipeline(program, plan, x, late_words=[True] * 31 + [False])
    assert np.diff(slow.image_ends).tolist() == [32 * schedule.words] * 3


def test_words_are_all_weights_once():
    """By the field of every lane, against the code's own order of weights."""
    for seed in range(7):
        chosen = drawn(seed)
        schedule = chosen.schedules[0]
        node, code = schedule.node, schedule.node.code
        order = lane_order(code.shape, schedule.ti, schedule.to, node.groups).reshape(-1, schedule.ti * schedule.to)
        fields = np.asarray(code.words(schedule.ti, schedule.to, node.groups)).reshape(order.shape)
        words, bits = external_words(schedule), code.field_bits
        seen = [[word >> bits * lane & (1 << bits) - 1 for lane in range(order.shape[1])] for word in words]
        numbers = schedule.streamed_words
        assert numbers is not None and sorted(numbers.tolist()) == sorted(set(numbers.tolist()))
        assert seen == fields[numbers].tolist() and all(word < 1 << schedule.word_bits for word in words)
        assert external_files(chosen.program, chosen.plan)["layer0_external.hex"] == (schedule.word_bits, words)


def test_words_wait_while_weights_of_others_are_loaded():
    """From reset on the memory offers its words, and the accelerator takes none until the other layer has its weights."""
    program = tiny_program()
    first, second = (node.name for node in program.nodes)
    program = loadable(program, [second])
    plan, x = plan_program(program, 8, orders={first: "weight"}, memories={first: "external"}), tiny_inputs(3)
    outputs, _ = simulate_pipeline(program, plan, x)
    assert np.array_equal(outputs, program.run(x))
    assert verify(api.build(program, plan=plan), x).passed


class Wrong(ExternalMemory):
    """Marks the word before the last one of an image as its last."""

    def elaborate(self, platform):
        inner = ExternalMemory(self.work, file=self.file)
        m = Module()
        m.submodules.inner = inner
        m.d.comb += [
            self.words.payload.data.eq(inner.words.payload.data), self.words.valid.eq(inner.words.valid), inner.words.ready.eq(self.words.ready),
            self.words.payload.last.eq(~inner.words.payload.last),
        ]  # fmt: skip
        return m


def test_a_lost_word_is_seen_and_no_image_is_sent(monkeypatch):
    program, plan = tiny()
    monkeypatch.setattr(memory, "ExternalMemory", Wrong)
    with pytest.raises(RtlError) as error:
        simulate_pipeline(program, plan, tiny_inputs(2))
    assert error.value.kind == "damaged" and f"layer {program.nodes[0].name}" in str(error.value)


def test_verilog_in_verilator(tmp_path: Path):
    """Joints, cycles and outputs of the generated Verilog, with the words from a file."""
    program, plan = tiny()
    chip, x = api.build(program, plan=plan), tiny_inputs(4)
    assert f"{PORT}0__payload" in chip.verilog() and "layer0_weights.hex" not in chip.files
    result = verify(chip, x)
    assert result.passed and result.simulation is not None
    assert (result.simulation.latency, result.simulation.interval) == (plan.cycles, plan.interval)
    held = sum(width * len(words) for name, (width, words) in memory_words(program, plan).items() if "external" not in name)
    assert chip.memory_bits == held
    file = chip.files["layer0_external.hex"].splitlines()
    file[0] = f"{int(file[0], 16) ^ 1:0{len(file[0])}x}"
    broken = replace(chip, files={**chip.files, "layer0_external.hex": "\n".join(file) + "\n"})
    assert not verify(broken, x).passed


def test_what_cannot_be():
    node = tiny_program().nodes[0]
    with pytest.raises(ValueError, match=r"memory of a linear code in row order must be 'rom', not 'external'$"):
        Schedule(node=node, ti=1, to=1, memory="external")
    loads = loadable(tiny_program()).nodes[0]
    with pytest.raises(ValueError, match="weights of an external memory must not be loaded too: that memory can be written instead$"):
        Schedule(node=loads, ti=1, to=1, order="weight", memory="external")
    sparse = chain(0, ["sparse"], ("weight",)).program.nodes[0]
    with pytest.raises(ValueError, match="memory of a sparse code in weight order must be 'rom', not 'external'$"):
        Schedule(node=sparse, ti=1, to=1, order="weight", memory="external")


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Build, info, verify and the plain testbench; what a board cannot do is said before work starts."""
    monkeypatch.chdir(tmp_path)
    model = "from torch import nn\ndef make():\n    return nn.Sequential(nn.ConvTranspose2d(6, 4, 4), nn.ReLU(), "
    (tmp_path / "m.py").write_text(model + "nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh())\n")

    def run(*arguments: str):
        return CliRunner().invoke(app, list(arguments))

    common = "m.py:make", "--input-shape", "6,1,1", "--lanes", "8"
    made = run("build", *common, "--memory", "layer0=external", "--axi", "-o", "b")
    assert made.exit_code == 0, made.output
    plan = json.loads((tmp_path / "b/plan.json").read_text())
    assert [(engine["memory"], engine["layers"][0]["order"]) for engine in plan["engines"]] == [("external", "weight"), ("rom", "row")]
    assert {"layer0_external.hex", "external_memory.v", "generator.v", "axi_top.v"} <= {path.name for path in (tmp_path / "b").iterdir()}
    assert "s_axis_weights0_tdata" in (tmp_path / "b/axi_top.v").read_text()
    inside = run("build", *common, "--order", "layer0=weight", "-o", "c")
    assert inside.exit_code == 0, inside.output
    rows = [json.loads(run("info", folder, "--json").stdout) for folder in ("b", "c")]
    weights = [one["resources"]["weight_bits"] for one in rows]
    assert weights[0] < weights[1] and rows[0]["layers"][0]["energy_weights_uj"] > rows[1]["layers"][0]["energy_weights_uj"]
    assert run("verify", "b", "--images", "3").exit_code == 0
    readme = (tmp_path / "b/README.txt").read_text()
    assert "tb.v generator.v external_memory.v" in readme and "    layer0_constants.hex\n" in readme and "    layer0_external.hex\n" not in readme
    plain = testbench.Testbench(tmp_path / "b", ("generator.v", "external_memory.v"))
    assert testbench.simulate(plain, stalls=True).message.startswith("PASS ")
    for arguments, message in (
        (("synth", "b", "--board", "orangecrab-85f", "-o", "s"), "no memory whose pins are known"),
        (("build", *common, "--memory", "layer0=external", "--order", "layer0=row", "-o", "d"), "must be one of rom, not 'external'"),
        (("build", *common, "--memory", "layer0=extern", "-o", "d"), "must be one of rom, or external, which runs in weight order, not 'extern'"),
        (("build", *common, "--memory", "layer0=external", "--share", "all", "-o", "d"), "order must be 'weight' like that of"),
        (("build", *common, "--order", "layer1=weight", "--share", "2x2", "-o", "d"), "order must be 'row' like that of"),
        (("build", *common, "--code", "sparse:50", "--memory", "layer0=external", "-o", "d"), "must be one of rom, not 'external'"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and message in result.output, result.output
    assert not (tmp_path / "s").exists() and not (tmp_path / "d").exists()
