"""Folders in which commands are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from organza.program_file import save_program
from organza_sim.api import build
from organza_sim.build_folder import write_build
from tests.organza.commands.command_line import MODEL
from tests.tiny import LANES, tiny_inputs, tiny_program


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
