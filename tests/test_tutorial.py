"""The README's tutorial, run from an empty folder exactly as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TUTORIAL = README.partition("## Tutorial")[2].partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)


def test_examples_hold_the_files_of_the_tutorial() -> None:
    model, files, _ = blocks("python")
    assert (ROOT / "examples/tutorial/my_model.py").read_text() == model
    assert (ROOT / "examples/tutorial/save_files.py").read_text() == files


def test_pictures_and_links_exist() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = 0
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
                found += 1
    assert found > 8


@pytest.mark.rtl
@pytest.mark.slow
def test_tutorial(tmp_path: Path) -> None:
    model, files, python = blocks("python")
    (tmp_path / "my_model.py").write_text(model)
    (tmp_path / "save_files.py").write_text(files)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    said = {}
    commands = re.findall(r"^\$ (.*)$", "".join(blocks("console")), re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        if "iverilog" in command and not shutil.which("iverilog"):
            continue
        result = subprocess.run(
            command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        said[command.split()[1]] = result.stdout
    assert "PASS: 20 images, bit-exact, cycles equal the model's" in said["verify"]
    assert "wrote mine; next: organza verify mine" in said["build"]
    assert np.load(tmp_path / "run/outputs.npy").shape == (2, 3, 16, 16)
    assert (tmp_path / "run/wave.vcd").stat().st_size > 1000
    assert "PASS" in said.get("mine", "PASS")
    code = f"import numpy as np\ninputs = np.load('z.npy')[:3]\n{python}"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
