"""The command line as a user meets it: results, and every bad input answered with one clear line."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from organza.cli import app
from organza.models import Generator, GeneratorConfig, initialise
from organza.program_file import save_program
from organza_sim.api import build
from organza_sim.build_folder import write_build
from tests.tiny import LANES, tiny_inputs, tiny_program

MODEL = """
from torch import nn

def make_generator():
    return nn.Sequential(
        nn.ConvTranspose2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(),
        nn.ConvTranspose2d(3, 1, 4, 2, 1), nn.Tanh(),
    )

def unsupported():
    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.MultiheadAttention(3, 1))

def softmax():
    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.Softmax(dim=1))

def empty():
    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3, padding=2), nn.ReLU())
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a model, its weights, calibration inputs, a checkpoint and a Program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "my_model.py").write_text(MODEL)
    torch.manual_seed(3)
    scope: dict = {}
    exec(MODEL, scope)
    save_file(scope["make_generator"]().state_dict(), tmp_path / "w.safetensors")
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(32, 4, 1, 1)))
    save_program(tiny_program(), tmp_path / "p.safetensors")
    before = {path.name for path in tmp_path.iterdir()}
    yield tmp_path
    assert not {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}, (
        "left behind"
    )
    assert before <= {path.name for path in tmp_path.iterdir()}


@pytest.fixture
def folder(here: Path) -> Path:
    path = here / "build"
    path.mkdir()
    write_build(path, build(tiny_program(), lanes=LANES), tiny_inputs(2))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(message: str, *arguments: str | Path) -> None:
    """The command fails with one line that matches, writes nothing to standard output, and makes nothing."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    result = run(*arguments)
    lines = [line for line in result.stderr.splitlines() if line.startswith("organza: ")]
    assert result.exit_code == 1, result.output
    assert len(lines) == 1, result.stderr
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in result.output
    assert result.stdout == ""
    after = {
        path: path.stat().st_mtime_ns
        for path in Path().rglob("*")
        if "__pycache__" not in path.parts
    }
    assert {path for path in after if path not in before} == set()


def test_help_has_an_example_for_every_command() -> None:
    assert run("--version").stdout.startswith("organza ")
    names = [
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    ]
    assert names == ["demo", "train", "compress", "build", "simulate", "verify", "info"]
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


def test_checkpoints(here: Path) -> None:
    torch.manual_seed(0)
    model = Generator(GeneratorConfig(latent=4, width=1))
    initialise(model, torch.Generator().manual_seed(0))
    from organza.checkpoint import save_generator

    save_generator("good.safetensors", model, {})
    from safetensors import safe_open

    with safe_open("good.safetensors", framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file("good.safetensors")
    key = "net.3.weight"
    for name, changed, message in (
        (
            "missing",
            {k: v for k, v in tensors.items() if k != key},
            r"missing.safetensors: tensor 'net.3.weight' is missing",
        ),
        (
            "extra",
            {**tensors, "net.99.weight": torch.zeros(2)},
            r"extra.safetensors: tensor 'net.99.weight' is not part",
        ),
        (
            "shape",
            {**tensors, key: torch.zeros(1, 2)},
            r"shape.safetensors: tensor 'net.3.weight' must have shape .*found \(1, 2\)",
        ),
        (
            "nan",
            {**tensors, key: tensors[key] * float("nan")},
            r"nan.safetensors: tensor 'net.3.weight' must be finite",
        ),
        (
            "inf",
            {**tensors, key: tensors[key] + float("inf")},
            r"inf.safetensors: tensor 'net.3.weight' must be finite",
        ),
    ):
        save_file(changed, f"{name}.safetensors", metadata=metadata)
        refused(message, "build", f"{name}.safetensors", "-o", "out")
    Path("cut.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:-100])
    refused(
        "cut.safetensors: must be a whole safetensors file", "build", "cut.safetensors", "-o", "out"
    )
    Path("pickle.safetensors").write_bytes(pickle.dumps({"a": 1}))
    refused(
        "pickle.safetensors: must be safetensors, found a pickle; convert it",
        "build",
        "pickle.safetensors",
        "-o",
        "out",
    )
    torch.save(model.state_dict(), "zip.safetensors")
    refused(
        r"zip.safetensors: must be safetensors, found a zip",
        "build",
        "zip.safetensors",
        "-o",
        "out",
    )
    refused(r"nowhere.safetensors: no such file", "build", "nowhere.safetensors", "-o", "out")


def test_user_models(here: Path) -> None:
    mine = ("build", "my_model.py:make_generator", "-o", "out", "--calibration", "z.npy")
    weights = load_file("w.safetensors")
    for name, changed, message in (
        (
            "missing",
            {k: v for k, v in weights.items() if k != "0.weight"},
            "missing.safetensors: tensor '0.weight' is missing",
        ),
        (
            "extra",
            {**weights, "9.bias": torch.zeros(1)},
            "extra.safetensors: tensor '9.bias' is not part",
        ),
        (
            "shape",
            {**weights, "3.bias": torch.zeros(2)},
            "shape.safetensors: tensor '3.bias' must have shape",
        ),
        (
            "nan",
            {**weights, "3.bias": torch.full((1,), float("nan"))},
            "nan.safetensors: tensor '3.bias' must be finite",
        ),
    ):
        save_file(changed, f"{name}.safetensors")
        refused(message, *mine, "--weights", f"{name}.safetensors")
    Path("pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    refused("pickle.pt: must be safetensors, found a pickle", *mine, "--weights", "pickle.pt")
    refused(
        "my_model.py: has no function 'nothing'",
        "build",
        "my_model.py:nothing",
        "-o",
        "out",
        "--input-shape",
        "4,1,1",
    )
    refused(
        "name the function too, e.g. my_model.py:make_generator",
        "build",
        "my_model.py",
        "-o",
        "out",
    )
    shaped = ("-o", "out", "--input-shape", "4,1,1")
    refused(r"1\b.*[Ss]oftmax", "build", "my_model.py:softmax", *shaped)
    refused(r"\b1\b|MultiheadAttention", "build", "my_model.py:unsupported", *shaped)
    refused(r"\b0\b.*empty|output.*empty|empty", "build", "my_model.py:empty", *shaped)
    refused("--input-shape must be .* not 'four'", *mine, "--input-shape", "four")
    refused(
        r"z.npy: must have shape \(N, 5, 1, 1\), not \(32, 4, 1, 1\)",
        *mine,
        "--input-shape",
        "5,1,1",
    )
    refused("--calibration must be a .npy file", "build", "my_model.py:make_generator", "-o", "out")
    np.save("nan.npy", np.full((8, 4, 1, 1), np.nan))
    refused("nan.npy: must be finite", *mine[:-1], "nan.npy")
    Path("text.npy").write_text("not an array")
    refused("text.npy: must be a .npy file", *mine[:-1], "text.npy")
    refused(
        "calibration must be one of mse, percentile, max, not 'best'", *mine, "--method", "best"
    )


def test_lane_budgets(here: Path) -> None:
    for lanes in ("0", "-1", "1"):
        refused(
            f"Lane budget must be at least 2, one for each layer, not {lanes}",
            "build",
            "p.safetensors",
            "-o",
            "out",
            "--lanes",
            lanes,
        )
    refused(
        "Lane budget must be at least 4, one for each layer, not 0",
        "demo",
        "-o",
        "out",
        "--lanes",
        "0",
    )


def test_programs(here: Path) -> None:
    data = bytearray(Path("p.safetensors").read_bytes())
    data[-3] ^= 0x10
    Path("flipped.safetensors").write_bytes(data)
    for command in (("info",), ("build", "-o", "out")):
        refused(
            "flipped.safetensors: content does not match its hash", *command, "flipped.safetensors"
        )
    text = Path("p.safetensors").read_bytes()
    other = text.replace(rb"\"version\": 2", rb"\"version\": 3")
    assert other != text
    Path("later.safetensors").write_bytes(other)
    refused(
        "later.safetensors: Program version must be 2, not 3; build the Program again",
        "info",
        "later.safetensors",
    )
    refused("w.safetensors: not a Program", "info", "w.safetensors")
    refused("nowhere: no such file", "info", "nowhere")
    Path("plan.json").write_text('{"version": 7}')
    refused("plan.json: Plan version must be 2", "info", "plan.json")
    refused(
        "plan.json: Plan version must be 2",
        "build",
        "p.safetensors",
        "--plan",
        "plan.json",
        "-o",
        "out",
    )
    refused(
        "--joint-coding must not be given with --plan",
        "build", "p.safetensors", "--plan", "plan.json", "--joint-coding", "rle", "-o", "out",
    )  # fmt: skip
    refused(
        "--joint-coding must be plain or rle, not 'zip'",
        "build", "p.safetensors", "--joint-coding", "zip", "-o", "out",
    )  # fmt: skip
    refused(
        "--lanes must not be given with --plan",
        "build",
        "p.safetensors",
        "--plan",
        "plan.json",
        "--lanes",
        "9",
        "-o",
        "out",
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("codebook:300", "0: codebook must have 2 to 256 centroids, not 300"),
        ("layer1=linear:17", "3: Linear bits must be between 2 and 16, not 17"),
        ("affine:9", "0: Affine bits must be between 1 and 8, not 9"),
        ("power:6", "0: PowerOfTwo bits must be between 2 and 5, not 6"),
        ("ternary:7", "0: Ternary weights in a byte must be 4 or 5, not 7"),
        ("tanh:9", "0: tanh bits must be between 1 and 8, not 9"),
        ("sparse:100", "0: sparsity must be between 0 and 99 percent, not 100"),
        ("sparse:75:0", "0: Sparse block must be between 2 and 16, not 0"),
        ("sparse:75:16:9:relative", "0: Sparse gap must be between 2 and 8, not 9"),
        ("sparse+codebook:999", "0: codebook must have 2 to 256 centroids, not 999"),
        ("rle+linear:40", "0: Linear bits must be between 2 and 16, not 40"),
        ("hashed:0", "0: hashed factor must be at least 1, not 0"),
        ("multihash:0", "0: multihash factor must be at least 1, not 0"),
        ("blockhash:8:0:4", "0: blockhash factor and lanes must be at least 1, not 8, 0, 4"),
        ("quaternary", "code must be one of linear, affine, .*, not 'quaternary'"),
        ("layer7=binary", r"code names the layer 'layer7'; this model has layer0 \(0\), layer1 \(3\), or say redundant or rest"),
    ],
)
def test_codes_that_do_not_fit(here: Path, code: str, message: str) -> None:
    """Nothing is written, not even a folder."""
    given = "--weights", "w.safetensors", "--calibration", "z.npy"
    refused(f"^organza: error: {message}$", "build", "my_model.py:make_generator", *given, "--code", code, "-o", "out")


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


def test_idx_files(here: Path) -> None:
    header = struct.pack(">IIII", 0x803, 10, 28, 28)
    for name, content, message in (
        ("short.idx3", header + bytes(100), "short.idx3"),
        ("magic.idx3", b"\x12\x34\x56\x78" + header[4:] + bytes(7840), "magic.idx3"),
        ("cut.idx3.gz", gzip.compress(header + bytes(7840), mtime=0)[:-20], "cut.idx3.gz"),
    ):
        (here / name).write_bytes(content)
        refused(
            message, "train", name, "-o", "out", "--width", "1", "--latent", "2", "--epochs", "1"
        )


def _interrupted(
    signum: int, arguments: list[str], wait_for: str
) -> subprocess.CompletedProcess[str]:
    """Start the command as a process, send it `signum` once it says `wait_for`."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from organza.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None and process.stdout is not None
    said = ""
    for line in process.stderr:
        said += line
        if wait_for in line:
            break
    time.sleep(0.2)
    process.send_signal(signum)
    out, rest = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, said + rest)


@pytest.mark.parametrize(
    ("signum", "wait_for"),
    [
        (signal.SIGINT, "Loading"),
        (signal.SIGINT, "Generating Verilog"),
        (signal.SIGTERM, "Planning"),
    ],
)
def test_interrupted_runs_leave_nothing(here: Path, signum: int, wait_for: str) -> None:
    before = sorted(here.iterdir())
    result = _interrupted(signum, ["demo", "-o", "new/out"], wait_for)
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "organza: interrupted; nothing was written"
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert sorted(here.iterdir()) == before


@pytest.mark.rtl
def test_interrupted_while_compiling(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANZA_CACHE", str(here / "cache"))
    (here / "cache").mkdir()
    result = _interrupted(signal.SIGINT, ["demo", "-o", "out"], "Simulating the Verilog")
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "organza: interrupted; nothing was written"
    assert not (here / "out").exists()


def test_progress_never_pauses(here: Path) -> None:
    """Between two lines on standard error there are never more than two seconds (and some for a busy machine)."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from organza.cli import main; main()", "build", "-o", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    times, lines = [time.monotonic()], []
    for line in process.stderr:
        times.append(time.monotonic())
        lines.append(line)
    out, _ = process.communicate()
    assert process.returncode == 0, lines
    assert "next: organza verify out" in out
    assert max(np.diff(times)) < 4, list(zip(np.diff(times), lines, strict=True))
