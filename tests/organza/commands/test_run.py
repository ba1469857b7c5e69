"""`organza run` against the reference and the simulated board."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.latent_stream import draw
from organza.program import Program
from organza_hw.build import build
from organza_sim.build_folder import write_build
from organza_sim.planner import plan_program
from tests.organza.commands.command_line import run
from tests.strategies import random_input, random_program

pytestmark = pytest.mark.rtl


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Of a build in the folder `build`."""
    rng = np.random.default_rng(4)
    made = random_program(rng, 2, max_size=3, max_channels=3)
    (tmp_path / "build").mkdir()
    write_build(tmp_path / "build", build(made, plan_program(made, 6)), random_input(rng, made, 2))
    return made


@pytest.mark.parametrize("port", ["reference", "rtl"])
def test_images_of_a_seed(tmp_path: Path, program: Program, port: str) -> None:
    result = run("run", tmp_path / "build", "--port", port, "-n", "5", "--seed", "3", "--measure", "7", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "out/report.json").read_text())
    assert report["bit_exact"] and report["images"] == 5 and report["mended"] == []
    wanted = program.run(draw(program.input, program.input_shape, 5, seed=3))
    assert np.array_equal(np.load(tmp_path / "out/outputs.npy"), wanted) and (tmp_path / "out/images.png").exists()
    rate = None if port == "reference" else report["core_hz"] / report["cycles_per_image"]
    assert report["images_per_second"] == pytest.approx(rate)


def test_latents_from_a_file(tmp_path: Path, program: Program) -> None:
    latents = np.random.default_rng(0).normal(size=(3, *program.input_shape))
    np.save(tmp_path / "z.npy", latents)
    result = run("run", tmp_path / "build", "--port", "reference", "--latents", tmp_path / "z.npy", "-o", tmp_path / "out")
    assert result.exit_code == 0 and "3 images, bit-exact" in result.stdout
    assert np.array_equal(np.load(tmp_path / "out/outputs.npy"), program.run(program.quantize(latents)))


def test_a_port_that_is_not_there(tmp_path: Path, program: Program) -> None:
    result = run("run", tmp_path / "build", "--port", tmp_path / "tty", "-o", tmp_path / "out")
    assert result.exit_code == 1 and "tty: cannot be opened" in result.output and not (tmp_path / "out").exists()
