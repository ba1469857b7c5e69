"""`organza train` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from organza.checkpoint import load_generator
from organza.classifier import load_classifier
from organza.commands import train as command
from organza.errors import UserError
from organza.idx import write_idx

TINY = ("--width", "1", "--latent", "2", "--batch", "8", "--limit", "16", "--epochs", "2")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("organza.train_run._CALIBRATION_BATCHES", 2)


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command("train")(command.train)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(message: str, *arguments: str | Path) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, UserError)
    with pytest.raises(UserError, match=message):
        raise result.exception


def test_train_and_resume(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("sample", "-o", out, *TINY, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["finished"] and report["steps"] == 4 and report["config"]["loss"] == "dcgan"
    assert load_generator(report["checkpoint"])[0].config.latent == 2
    refused(r"run: output folder must be empty or absent \(or use --resume\)", "sample", "-o", out)
    again = run("sample", "-o", out, "--resume", "--width", "1", "--limit", "16")
    assert again.exit_code == 0 and "wrote" in again.stdout
    refused(r"was started with --width 1, got 2", "sample", "-o", out, "--resume", "--width", "2")


def test_a_stopped_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from organza import training

    whole = training.train
    monkeypatch.setattr(training, "train", lambda *a, **k: whole(*a, **k, stop_at=3))
    result = run("sample", "-o", tmp_path, *TINY)
    assert result.exit_code == 130
    assert "stopped at step 3 of 4; --resume goes on from here" in result.stdout


def test_mistakes_of_the_user(tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused("loss must be one of dcgan, wgan-gp, lsgan", "sample", "-o", out, "--loss", "x")
    refused("width must be in", "sample", "-o", out, "--width", "0")
    refused("no/data: must be a file or folder", "no/data", "-o", out)
    refused("must hold state.safetensors to resume from", "sample", "-o", out, "--resume")
    refused("images must be at least one batch", "sample", "-o", out, "--limit", "3")
    assert not out.exists()


def test_classifier(tmp_path: Path) -> None:
    out = tmp_path / "net"
    small = ("--classifier", "--epochs", "1", "--batch", "16", "--limit", "32", "--json")
    result = run("sample", "-o", out, *small)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["settings"] == {"epochs": 1, "batch": 16, "seed": 0, "lr": 0.002}
    assert load_classifier(report["checkpoint"]).config.name == "fashion-cnn"
    refused("output folder must be empty or absent", "sample", "-o", out, "--classifier")
    new = tmp_path / "new"
    refused(
        "--resume must not be given with --cla", "sample", "-o", new, "--classifier", "--resume"
    )
    refused("--loss must not be given", "sample", "-o", new, "--classifier", "--loss", "dcgan")
    write_idx(tmp_path / "x.idx", np.zeros((4, 28, 28), np.uint8))
    refused("must have labels to train a classifier", tmp_path / "x.idx", "-o", new, "--classifier")
    assert not new.exists() and torch.is_grad_enabled()
