"""A small model to give to the command line, and how tests give commands."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner, Result

from organza.cli import app

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
