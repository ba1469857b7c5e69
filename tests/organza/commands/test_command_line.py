"""The command line as a user meets it: help, results, and folders that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from organza.cli import app
from tests.organza.commands.command_line import refused, run


def test_help_has_an_example_for_every_command() -> None:
    assert run("--version").stdout.startswith("organza ")
    names = [
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    ]
    assert names == ["demo", "train", "compress", "build", "simulate", "verify", "synth", "run", "explore", "info"]
    for name in names:
        result = run(name, "--help")
        assert result.exit_code == 0
        assert (
            f"organza {name} " in result.stdout.partition("Options:")[0].partition("Example")[2]
        ), name


def test_usage_errors() -> None:
    assert run("build", "--lanes", "many", "-o", "x").exit_code == 2
    assert run("simulate").exit_code == 2
    assert run("frobnicate").exit_code == 2


@pytest.mark.rtl
def test_build_verify_simulate_info(here: Path) -> None:
    command = (
        "build",
        "my_model.py:make_generator",
        "--weights",
        "w.safetensors",
        "--calibration",
        "z.npy",
    )
    result = run(*command, "--input-shape", "4,1,1", "--lanes", "6", "-o", "out", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads(Path("out/report.json").read_text())
    assert report["model"] == "my_model" and report["lanes"] <= 6 and report["bit_exact"] is None
    assert report["psnr_db"] > 30 and report["cycles"] is None and len(report["layers"]) == 2
    expected = {
        "generator.v",
        "program.safetensors",
        "plan.json",
        "tb.v",
        "tb_input.hex",
        "tb_expected.hex",
        "README.txt",
        "report.json",
        "report.html",
        "images.png",
        "files.json",
        "layer0_weights.hex",
    }
    assert expected <= {path.name for path in Path("out").iterdir()}

    result = run("verify", "out", "--images", "3", "--seed", "4", "-o", "checked")
    assert result.exit_code == 0, result.output
    assert "PASS: 3 images, bit-exact, cycles equal the model's" in result.stdout
    assert json.loads(Path("checked/report.json").read_text())["bit_exact"] is True

    result = run(
        "simulate",
        "out",
        "--latents",
        "z.npy",
        "--images",
        "2",
        "--trace",
        "w.vcd",
        "-o",
        "run",
        "--json",
    )
    assert result.exit_code == 0, result.output
    simulated = json.loads(result.stdout)
    assert simulated["cycles"] == simulated["cycles_model"] and simulated["images"] == 2
    assert np.load("run/outputs.npy").shape == (2, 1, 6, 6)
    assert Path("run/w.vcd").stat().st_size > 1000

    for path, words in (
        ("out", "cycle model"),
        ("out/program.safetensors", "stored"),
        ("out/plan.json", "lanes"),
    ):
        result = run("info", path)
        assert result.exit_code == 0 and words in result.stdout and "Traceback" not in result.output
        assert isinstance(json.loads(run("info", path, "--json").stdout), dict)

    result = run("build", "out/program.safetensors", "--plan", "out/plan.json", "-o", "again")
    assert result.exit_code == 0, result.output
    for name in ("generator.v", "plan.json", "layer1_weights.hex"):
        assert Path("again", name).read_bytes() == Path("out", name).read_bytes()
    result = run("build", "p.safetensors", "-o", "out", "--force", "--lanes", "6")
    assert result.exit_code == 0 and json.loads(Path("out/report.json").read_text())["model"] == "p"


@pytest.mark.rtl
def test_verify_finds_a_flipped_weight(folder: Path) -> None:
    path = folder / "layer1_weights.hex"
    lines = path.read_text().splitlines()
    lines[0] = f"{int(lines[0], 16) ^ 0x40:0{len(lines[0])}x}"
    path.write_text("\n".join(lines) + "\n")
    result = run("verify", "build", "--images", "3")
    assert result.exit_code == 1
    assert "layer1_weights.hex: edited since the build" in result.stdout
    assert "layer1_weights.hex:1: expected " in result.stdout
    assert re.search(
        r"first difference: layer net.3, image \d+, channel 0, y \d+, x \d+: expected -?\d+, got",
        result.stdout,
    )
    assert result.stdout.splitlines()[-1].startswith("FAIL: 3 images, not bit-exact, cycles equal")
    found = json.loads(run("verify", "build", "--images", "3", "--json").stdout)
    assert found["passed"] is False and found["first_difference"]["layer"] == "net.3"


def test_build_folders(folder: Path) -> None:
    refused("nowhere: no such folder", "verify", "nowhere")
    (folder.parent / "empty").mkdir()
    refused("empty: not a build folder", "verify", "empty")
    np.save("wide.npy", np.zeros((2, 7)))
    refused(
        r"wide.npy: must have shape \(N, 4, 1, 1\), not \(2, 7\)",
        "verify",
        "build",
        "--latents",
        "wide.npy",
    )
    refused(
        r"--trace must be a file name that ends in .vcd, not 'wave.fst'",
        "simulate",
        "build",
        "-o",
        "out",
        "--trace",
        "wave.fst",
    )
    source = (folder / "generator.v").read_text()
    (folder / "generator.v").write_text(source.replace("endmodule", "", 1))
    refused("Verilator rejects the Verilog|must have a module", "verify", "build")
    (folder / "generator.v").unlink()
    refused("generator.v: no such file; build again", "verify", "build")


def test_output_folders(here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").write_text("mine")
    refused(
        "full: output folder exists and is not empty; choose another one",
        "build",
        "p.safetensors",
        "-o",
        "full",
    )
    refused(
        "full: holds no report.json, so it is no earlier result",
        "build",
        "p.safetensors",
        "-o",
        "full",
        "--force",
    )
    refused("full: output folder", "demo", "-o", "full")
    (here / "file").write_text("")
    refused("file: exists and is no folder", "build", "p.safetensors", "-o", "file")
    refused("file/below: cannot be", "build", "p.safetensors", "-o", "file/below")
    assert (here / "full" / "thesis.txt").read_text() == "mine"
