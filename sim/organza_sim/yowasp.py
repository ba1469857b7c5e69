"""Synthesis tools of YoWASP, as pip installs them beside this Python, and the records of what they made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from organza.checkpoint import write_atomically


class ToolError(RuntimeError):
    """A tool ended with an error. last_line : of what it said."""

    def __init__(self, name: str, said: str):
        super().__init__(f"{name} failed:\n{said}")
        self.last_line = ([line.strip() for line in said.splitlines() if line.strip()] or ["no message"])[-1]


def run_tool(folder: Path, name: str, *arguments: str) -> None:
    """Run a tool in `folder`. Raises FileNotFoundError if it is not installed, `ToolError` if it fails."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not in this Python environment; run: pip install {name}")
    done = subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(name, f"{done.stdout[-2000:]}{done.stderr[-2000:]}")


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
