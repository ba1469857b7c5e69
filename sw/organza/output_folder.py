"""Output folders that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from organza.errors import UserError

# Every folder that a command writes holds it; `replace` deletes only folders that do.
MARK = "report.json"


@contextmanager
def new_folder(target: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends without an exception, and vanishes otherwise.

    `target` may be absent or empty. With `replace`, an earlier result (a folder that holds `report.json`) may be there
    too; it stays until the new one is complete.

    Raises `UserError` before the block starts when `target` is something else or cannot be written.
    """
    target = Path(target).absolute()
    _check_free(target, replace)
    made: list[Path] = []
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    done = False
    try:
        try:
            for parent in reversed(target.parents):
                if not parent.exists():
                    parent.mkdir()
                    made.append(parent)
            temporary.mkdir()
        except OSError as error:
            raise UserError(
                f"{target}: cannot be written ({error.strerror}); choose another output folder"
            ) from error
        yield temporary
        _check_free(target, replace)  # somebody else may have filled it meanwhile
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            target.rename(old)
        temporary.rename(target)
        done = True
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if not done:
            shutil.rmtree(temporary, ignore_errors=True)
            for parent in reversed(made):
                try:
                    parent.rmdir()
                except OSError:
                    break  # no longer empty: somebody else uses it


def _check_free(target: Path, replace: bool) -> None:
    try:
        if not target.exists() and not target.is_symlink():
            return
        if not target.is_dir():
            raise UserError(f"{target}: exists and is no folder; choose another output folder")
        entries = {entry.name for entry in target.iterdir()}
    except OSError as error:
        raise UserError(
            f"{target}: cannot be read ({error.strerror}); choose another output folder"
        ) from error
    if not entries or (replace and MARK in entries):
        return
    if replace:
        raise UserError(
            f"{target}: holds no {MARK}, so it is no earlier result and is not replaced; "
            "choose another output folder"
        )
    raise UserError(
        f"{target}: output folder exists and is not empty; choose another one"
        + (", or give --force to replace it" if MARK in entries else "")
    )
