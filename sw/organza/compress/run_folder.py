"""The output folder of a run: every stage in a folder of its own, which appears whole or not at all.

    0-start/      teacher.safetensors, judge.safetensors, generator.safetensors, critic.safetensors, stage.json
    1-quantize/   generator.safetensors, critic.safetensors, stage.json, measured.json, images.png
    2-finetune/   …
    program.safetensors, report.json, report.html
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from organza.checkpoint import write_atomically
from organza.compress.chain import Chain
from organza.compress.chain_file import load_chain, save_chain
from organza.errors import UserError

STAGE_FILE, MEASURED_FILE, IMAGES_FILE, LOCK_FILE = "stage.json", "measured.json", "images.png", ".lock"
PROGRAM_FILE, REPORT_FILE, PAGE_FILE = "program.safetensors", "report.json", "report.html"


@contextmanager
def run_folder(path: Path, *, resume: bool) -> Iterator[Path]:
    """The folder, made if it is not there, for this process alone.

    If the block fails before it has written anything, the folder goes again. Raises `UserError` for one that cannot be
    written, that another run uses, or that holds anything without `resume`.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: exists and is no folder; choose another output folder")
    # A run that was killed early has left nothing but hidden files.
    if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
        if not (path / "0-start" / STAGE_FILE).is_file():
            raise UserError(f"{path}: output folder must be empty or absent, or hold an earlier run; choose another one")
        if not resume:
            raise UserError(f"{path}: output folder holds a run; give --resume to go on with it, or choose another one")
    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    with saving(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK_FILE).open("w")
    with lock:
        _lock(path, lock)
        try:
            yield path
        finally:
            if [entry.name for entry in path.iterdir()] == [LOCK_FILE]:
                (path / LOCK_FILE).unlink()
                for folder in absent:
                    if any(folder.iterdir()):
                        break  # somebody else uses it
                    folder.rmdir()


def _lock(path: Path, lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(f"{path}: another run is at work there; wait for it, or choose another output folder") from error
    for pattern in (".*.tmp", "*/.*.tmp"):  # stages and files of a run that was killed
        for left in list(path.glob(pattern)):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Errors of the operating system as `UserError`: what is complete stays, and a resumed run goes on from there."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); complete stages are kept: mend that and give --resume"
        ) from error


def stage_path(folder: Path, number: int, kind: str) -> Path:
    """Where stage `number` lies."""
    return folder / f"{number}-{kind}"


def write_stage(path: Path, networks: dict[str, Chain | None], record: dict[str, Any]) -> None:
    """Write a stage's networks and what there is to say of it. Raises as `saving`, ValueError for weights that are no numbers."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with saving(path.parent):
            temporary.mkdir()
            for name, chain in networks.items():
                if chain is not None:
                    save_chain(temporary / f"{name}.safetensors", chain)
            write_json(temporary / STAGE_FILE, record)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, whole or not at all."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON file of this run; None if it is not there or not readable."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_networks(path: Path, names: tuple[str, ...]) -> dict[str, Chain | None]:
    """The networks of a stage; None for those that it does not have. Raises `UserError` naming a file that is damaged."""
    made: dict[str, Chain | None] = {}
    for name in names:
        file = path / f"{name}.safetensors"
        try:
            made[name] = load_chain(file)[0] if file.exists() else None
        except (OSError, ValueError) as error:
            raise UserError(f"{error}; remove the folder {path} to do that stage again") from error
    return made


def remove_from(folder: Path, number: int) -> list[str]:
    """Remove stages from `number` on, and what was made of them; their names."""
    gone = []
    for path in sorted(folder.iterdir()):
        found = _number_of(path)
        if found is not None and found >= number and (path / STAGE_FILE).is_file():
            shutil.rmtree(path)
            gone.append(path.name)
    for name in (PROGRAM_FILE, REPORT_FILE, PAGE_FILE):
        (folder / name).unlink(missing_ok=True)
    return gone


def _number_of(path: Path) -> int | None:
    number, dash, _ = path.name.partition("-")
    return int(number) if dash and number.isascii() and number.isdigit() else None
