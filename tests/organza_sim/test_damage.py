# amaranth: UnusedElaboratable=no
"""Damaged memory images of stored streams: a simulation stops at once and names the layer, whatever runs it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from organza.cli import app
from organza.codes import Huffman, RunLength
from organza.program import Program
from organza_hw.build import Chip, build
from organza_hw.pipeline import Pipeline
from organza_sim import api, pysim, testbench
from organza_sim.beats import to_beats
from organza_sim.build_folder import load_build, write_build
from organza_sim.planner import plan_program
from organza_sim.rtl import RtlError
from organza_sim.verify import verify
from tests.tiny import LANES, tiny_inputs, tiny_program

pytestmark = pytest.mark.rtl
KINDS, IMAGE = {"huffman": Huffman, "rle": RunLength}, "layer1_weights.hex"
MESSAGE = r"stored weights of layer net\.3 \(layer1_\*\.hex\) are damaged: its decoder stopped in cycle \d+"


def make(kind: str, memory: str) -> Chip:
    """The tiny program; weights of its second layer are a stream, expanded after reset or used as it comes."""
    first, second = tiny_program().nodes
    program = Program((first, replace(second, code=KINDS[kind](second.code))))
    order = {"expand": "row", "stream": "weight"}[memory]
    plan = plan_program(program, LANES, orders={"net.3": order}, memories={"net.3": memory})
    assert (plan.engines[1].memory, plan.engines[1].layers[0].order) == (memory, order)
    return build(program, plan)


@pytest.fixture(scope="module", params=[(kind, memory) for kind in KINDS for memory in ("expand", "stream")], ids="-".join)
def chip(request: pytest.FixtureRequest) -> Chip:
    return make(*request.param)


@pytest.fixture(scope="module")
def streamed() -> Chip:
    return make("huffman", "stream")


@pytest.fixture
def folder(streamed: Chip, tmp_path: Path) -> Path:
    (tmp_path / "build").mkdir()
    write_build(tmp_path / "build", streamed, tiny_inputs(3))
    return tmp_path / "build"


def flipped(text: str, bit: int) -> str:
    """A memory image with one bit turned, counted through all its words, from the end if below 0."""
    words = text.split()
    width = 4 * len(words[0])
    place = bit % (width * len(words))
    words[place // width] = f"{int(words[place // width], 16) ^ 1 << place % width:0{width // 4}x}"
    return "\n".join(words) + "\n"


def damage(folder: Path, bit: int = 40) -> None:
    (folder / IMAGE).write_text(flipped((folder / IMAGE).read_text(), bit))


def test_a_good_one_has_no_error(chip: Chip) -> None:
    x = tiny_inputs(2)
    outputs, _ = pysim.simulate_pipeline(chip.program, chip.plan, x)
    assert (outputs == chip.program.run(x)).all()


def test_any_bit_of_a_stream_is_missed(chip: Chip) -> None:
    """In the first and last words of the payload and of the check sum, and between, long before a watchdog would bark."""
    beats, last = to_beats(tiny_inputs(2), chip.plan.joints[0].n)
    i, o = api.joint_beats(chip)[:: len(chip.plan.joints) - 1]
    count, most = len(chip.files[IMAGE].split()), chip.plan.cycles + 500
    for place in (0, count // 3, count // 2, count - 3, count - 1):
        pipeline = Pipeline(chip.program, chip.plan, files=False)
        assert len(pipeline.error) == 2
        pipeline.engines[1].weights.roms[0].words[place] ^= 1
        with pytest.raises(RtlError, match=f"^{MESSAGE}$") as error:
            pysim.run(
                pipeline, beats, last, i=i, o=o, outputs=1, error=pipeline.error, layers=["net.0", "net.3"], watchdog=most
            )
        assert error.value.kind == "damaged" and int(str(error.value).split()[-1]) < most


def test_verilog(streamed: Chip) -> None:
    text, x = streamed.files[IMAGE], tiny_inputs(3)
    assert (api.simulate(streamed, x).outputs == streamed.program.run(x)).all()
    for bit in (0, 4 * len("".join(text.split())) - 1):
        broken = replace(streamed, files={**streamed.files, IMAGE: flipped(text, bit)})
        with pytest.raises(RtlError, match=f"^{MESSAGE}$") as error:
            api.simulate(broken, x)
        assert error.value.kind == "damaged" and error.value.run is not None
        assert error.value.run.simulated < streamed.plan.cycles + 500 and not len(error.value.run.outputs)


def test_verify_has_a_verdict(folder: Path) -> None:
    damage(folder)
    result = verify(folder, tiny_inputs(2))
    assert not result.passed and result.stopped is not None and result.stopped.startswith("damaged: stored weights of layer net.3 ")
    assert [memory.file for memory in result.memory] == [IMAGE] and result.simulation is None
    assert result.layers[0].wrong == 0 or result.layers[0].first is not None


def test_plain_testbench(streamed: Chip, folder: Path) -> None:
    bench = testbench.Testbench(folder, ("generator.v",))
    assert testbench.simulate(bench).cycles == api.simulate(streamed, tiny_inputs(3)).cycles
    damage(folder)
    with pytest.raises(testbench.TestbenchError, match=r"^stored weights are damaged: error is 10, cycle \d+$"):
        testbench.simulate(bench)


def test_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    damage(folder)
    run = CliRunner().invoke
    result = run(app, ["simulate", "build", "--images", "2", "-o", "out"])
    assert result.exit_code == 1 and result.stdout == "" and "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("organza: ")]
    assert line.startswith("organza: error: stored weights of layer net.3 (layer1_*.hex) are damaged")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["build"]
    result = run(app, ["verify", "build", "--images", "2"])
    assert result.exit_code == 1 and "the simulation stopped: damaged: stored weights of layer net.3" in result.stdout
    assert f"{IMAGE}: edited since the build" in result.stdout
    found = json.loads(run(app, ["verify", "build", "--images", "2", "--json"]).stdout)
    assert found["passed"] is False and found["stopped"].startswith("damaged: ")
    assert load_build(folder).edited == (IMAGE,)
