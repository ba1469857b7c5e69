"""Runs of a recipe that are killed, or find the disk full, at every change of the file system. A program, for a test to start.

``broken_runs FOLDER MODE:FIRST:STRIDE …``: in FOLDER a recipe and, in `whole`, its uninterrupted run. MODE is kill or full, at change
FIRST, FIRST + STRIDE, …; or short: files end at so many bytes. Prints a line a run: where it was stopped, whether it ran to the
end, the error, whether the run that went on came to the same Program, and what was left behind that should not be.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from organza.compress.chain_file import load_chain
from organza.compress.run import run_recipe
from organza.compress.sources import load_start
from organza.errors import UserError
from tests.organza.compress.tiny_run import loaded

CHANGES = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")


def forked(work: Callable[[], None]) -> int:
    """Exit status of `work` in a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
        os._exit(0)
    except UserError as error:
        Path("error").write_text(str(error))
        os._exit(3)
    except BaseException as error:
        Path("error").write_text(repr(error))
        os._exit(4)


def breaks(out: Path, mode: str, at: int) -> None:
    """Stop this process at change number `at` in `out`; or let all that writes fail from then on, or files end at `at` bytes."""
    if mode == "short":
        resource.setrlimit(resource.RLIMIT_FSIZE, (at, at))
        return
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event not in CHANGES or not str(arguments[0]).startswith(str(out)):
            return
        writes = event == "os.mkdir" or (event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR)))
        if event == "open" and not writes:
            return
        count += 1
        if mode == "kill" and count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "full" and count >= at and writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(hook)


def check(out: Path) -> None:
    """Everything that a broken run has left must be whole, unless it is hidden."""
    for path in out.rglob("*") if out.exists() else ():
        if any(part.startswith(".") for part in path.relative_to(out).parts):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".safetensors" and path.name != "program.safetensors":
            load_chain(path)


def broken_run(folder: Path, mode: str, at: int, wanted: str) -> dict[str, object]:
    """One broken run, and one that goes on with it."""
    out, recipe = folder / "broken", folder / "recipe.toml"
    shutil.rmtree(out, ignore_errors=True)
    Path("error").write_text("")

    def run() -> None:
        read, settings = loaded(recipe)
        breaks(out, mode, at)
        run_recipe(read, out, settings)

    def go_on() -> None:
        read, settings = loaded(recipe, resume=True)
        run_recipe(read, out, settings)

    status, message = forked(run), Path("error").read_text()
    made: dict[str, object] = {"mode": mode, "at": at, "status": status, "error": message}
    if status == 0:
        return made
    check(out)
    hidden = [] if mode == "kill" else [path.name for path in out.rglob(".*.tmp")]
    assert forked(go_on) == 0, Path("error").read_text()
    got = json.loads((out / "report.json").read_text())["program"]["hash"]
    hidden += [path.name for path in out.rglob(".*.tmp")]
    return {**made, "same": got == wanted, "hidden": hidden}


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    torch.set_num_threads(1)
    os.chdir(folder)
    read, settings = loaded(folder / "recipe.toml")
    load_start(read, settings.folder)  # what this imports takes seconds that the runs then share
    wanted = json.loads(Path("whole/report.json").read_text())["program"]["hash"]
    for part in sys.argv[2:]:
        mode, first, stride = part.split(":")
        for at in itertools.count(int(first), int(stride)):
            made = broken_run(folder, mode, at, wanted)
            print(json.dumps(made), flush=True)
            if made["status"] == 0:
                break


if __name__ == "__main__":
    main()
