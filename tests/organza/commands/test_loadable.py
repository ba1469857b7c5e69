"""Chips whose weights are loaded, from the command line: built once, run with one Program and another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.latent_stream import draw
from organza.loadable import fitted
from organza.program import Program
from organza.program_file import load_program, save_program
from organza_sim.build_folder import WEIGHTS
from tests.loadable_programs import other_weights
from tests.organza.commands.command_line import run
from tests.tiny import LANES, tiny_program

pytestmark = pytest.mark.rtl


@pytest.fixture
def built(tmp_path: Path) -> Program:
    """A build in the folder `build`, beside a Program of other weights, other.safetensors."""
    save_program(tiny_program(), tmp_path / "tiny.safetensors")
    result = run("build", tmp_path / "tiny.safetensors", "--loadable", "all", "--lanes", LANES, "-o", tmp_path / "build")
    assert result.exit_code == 0, result.output
    program = load_program(tmp_path / "build/program.safetensors")
    assert program.loads and (tmp_path / "build" / WEIGHTS).exists()
    save_program(other_weights(np.random.default_rng(3), program), tmp_path / "other.safetensors")
    return program


@pytest.mark.parametrize("port, board", [("reference", "ulx3s-85f"), ("rtl", "ulx3s-85f"), pytest.param("rtl", "icebreaker", marks=pytest.mark.full)])
def test_run_with_other_weights(tmp_path: Path, built: Program, port: str, board: str) -> None:
    other = fitted(load_program(tmp_path / "other.safetensors"), built)
    for weights, program in (([], built), (["--weights", tmp_path / "other.safetensors"], other)):
        result = run(
            "run", tmp_path / "build", "--port", port, "--board", board, *weights, "-n", 4, "--seed", 3, "--measure", 5,
            "-o", tmp_path / "out", "--force", "--json",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["bit_exact"]
        assert np.array_equal(np.load(tmp_path / "out/outputs.npy"), program.run(draw(program.input, program.input_shape, 4, seed=3)))


def test_simulate_and_verify(tmp_path: Path, built: Program) -> None:
    """Weights may also be those of a build folder."""
    save_program(load_program(tmp_path / "other.safetensors"), tmp_path / "program.safetensors")
    result = run("simulate", tmp_path / "build", "--weights", tmp_path, "-n", 3, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    other = fitted(load_program(tmp_path / "other.safetensors"), built)
    x = np.load(tmp_path / "out/inputs.npy")
    assert np.array_equal(np.load(tmp_path / "out/outputs.npy"), other.run(other.quantize(x)))
    result = run("verify", tmp_path / "build", "--images", 3)
    assert result.exit_code == 0 and "PASS" in result.output


def test_layers_on_one_engine(tmp_path: Path) -> None:
    """Built, simulated with other weights, verified with its own; a mixture is refused, and so are weights of another chip."""
    save_program(tiny_program(), tmp_path / "tiny.safetensors")
    build = ["build", tmp_path / "tiny.safetensors", "--share", "2x3", "--lanes", 6]
    result = run(*build, "--loadable", "all", "-o", tmp_path / "build")
    assert result.exit_code == 0, result.output
    program, other = load_program(tmp_path / "build/program.safetensors"), tmp_path / "other.safetensors"
    save_program(other_weights(np.random.default_rng(3), program), other)
    result = run("simulate", tmp_path / "build", "--weights", other, "-n", 3, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    same = fitted(load_program(other), program)
    assert np.array_equal(np.load(tmp_path / "out/outputs.npy"), same.run(same.quantize(np.load(tmp_path / "out/inputs.npy"))))
    result = run("verify", tmp_path / "build", "--images", 3)
    assert result.exit_code == 0 and "PASS" in result.output
    plan = ["--plan", tmp_path / "build/plan.json"]
    result = run("build", tmp_path / "tiny.safetensors", "--loadable", "all", *plan, "-o", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tmp_path / "build" / WEIGHTS).read_bytes()
    for arguments, message in (
        ([*build, "--loadable", "layer0"], "--share 2x3: net.3: weights must be loaded at run time like those of net.0, with which it shares an engine"),
        ([*build, "--loadable", "net.3"], "--share 2x3: net.3: weights must be in the bitstream like those of net.0, with which it shares an engine"),
    ):  # fmt: skip
        result = run(*arguments, "-o", tmp_path / "no")
        assert result.exit_code == 1 and message in " ".join(result.output.split()) and not (tmp_path / "no").exists()


def test_mistakes(tmp_path: Path, built: Program) -> None:
    build, out = tmp_path / "build", ["-o", tmp_path / "out"]
    nodes = tiny_program().nodes
    save_program(Program(nodes[:1]), tmp_path / "short.safetensors")
    run("build", tmp_path / "tiny.safetensors", "--lanes", LANES, "-o", tmp_path / "fixed")
    other = tmp_path / "other.safetensors"
    for arguments, message in (
        (["build", tmp_path / "tiny.safetensors", "--loadable", "net.1"], "--loadable names the layer 'net.1'; this model has layer0 (net.0), layer1 (net.3), or say all"),
        (["simulate", build, "--weights", tmp_path / "short.safetensors"], "Program to load must have the 2 layers of the chip, not 1"),
        (["run", build, "--port", "reference", "--weights", build / "plan.json"], "plan.json: not a readable safetensors file"),
        (["simulate", tmp_path / "fixed", "--weights", other], "the weights of this chip are in its bitstream; build it with --loadable"),
        (["synth", build, "--asic", "--weights", other], "--weights must not be given with --asic"),
    ):
        result = run(*arguments, *out)
        assert result.exit_code == 1 and message in " ".join(result.output.split()), result.output
        assert not (tmp_path / "out").exists()
