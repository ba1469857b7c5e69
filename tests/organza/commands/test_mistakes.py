"""Every bad model, file, Program, Plan and code is answered with one clear line, before anything is written."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from organza.models import Generator, GeneratorConfig, initialise
from tests.organza.commands.command_line import refused


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
