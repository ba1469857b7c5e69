"""Results that are expensive to make and depend only on their inputs, kept between runs.

Compiled simulators and finished proofs go to ``~/.cache/organza`` (``XDG_CACHE_HOME`` is
respected), or to the folder that the environment variable ``ORGANZA_CACHE`` names. Deleting the
folder is always safe.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["digest", "folder", "publish", "scratch"]

# Simulators of a few MB each: enough for a working set, small enough to be left alone.
KEEP = 200


def folder(kind: str) -> Path:
    """The folder, made if needed, for results of one ``kind`` (``"verilator"``, ``"formal"``)."""
    if root := os.environ.get("ORGANZA_CACHE"):
        path = Path(root).expanduser()
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "organza"
    path = (path / kind).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts: str | bytes) -> str:
    """A name for the result of ``parts``: 24 hexadecimal digits, different for any different
    input."""
    state = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()[:24]


@contextmanager
def scratch(kind: str) -> Iterator[Path]:
    """A temporary folder on the same file system as the cache, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder(kind)) as name:
        yield Path(name)


def publish(made: Path, target: Path) -> Path:
    """Moves the finished file ``made`` to ``target`` and drops the least recently used of its
    neighbours.

    A rename is atomic, so other processes see a whole file or none.
    """
    made.replace(target)
    files = []
    for path in target.parent.iterdir():
        try:
            if path.is_file():
                files.append((path.stat().st_mtime, path))
        except OSError:
            continue  # another process dropped it
    for _, path in sorted(files)[:-KEEP]:
        path.unlink(missing_ok=True)
    return target
