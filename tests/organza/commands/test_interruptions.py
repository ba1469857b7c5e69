"""Commands as processes: what an interruption leaves, and that something is said all the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from organza.commands.common import INTERRUPTED, guarded
from organza.commands.steps import check_interruption


def _interrupted(
    signum: int, arguments: list[str], wait_for: str
) -> subprocess.CompletedProcess[str]:
    """Start the command as a process, send it `signum` once it says `wait_for`."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from organza.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None and process.stdout is not None
    said = ""
    for line in process.stderr:
        said += line
        if wait_for in line:
            break
    time.sleep(0.2)
    process.send_signal(signum)
    out, rest = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, said + rest)


@pytest.mark.parametrize(
    ("signum", "wait_for"),
    [
        (signal.SIGINT, "Loading"),
        (signal.SIGINT, "Generating Verilog"),
        (signal.SIGTERM, "Planning"),
    ],
)
def test_interrupted_runs_leave_nothing(here: Path, signum: int, wait_for: str) -> None:
    before = sorted(here.iterdir())
    result = _interrupted(signum, ["demo", "-o", "new/out"], wait_for)
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "organza: interrupted; nothing was written"
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert sorted(here.iterdir()) == before


@pytest.mark.rtl
def test_interrupted_while_compiling(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANZA_CACHE", str(here / "cache"))
    (here / "cache").mkdir()
    result = _interrupted(signal.SIGINT, ["demo", "-o", "out"], "Simulating the Verilog")
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "organza: interrupted; nothing was written"
    assert not (here / "out").exists()


def test_progress_never_pauses(here: Path) -> None:
    """Between two lines on standard error there are never more than two seconds (and some for a busy machine)."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from organza.cli import main; main()", "build", "-o", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    times, lines = [time.monotonic()], []
    for line in process.stderr:
        times.append(time.monotonic())
        lines.append(line)
    out, _ = process.communicate()
    assert process.returncode == 0, lines
    assert "next: organza verify out" in out
    assert max(np.diff(times)) < 4, list(zip(np.diff(times), lines, strict=True))


def test_an_interruption_in_a_destructor_is_not_lost_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    class Wrong:
        def __del__(self) -> None:
            raise LookupError("not an interruption")

    seen: list[type[BaseException]] = []

    def command() -> None:
        Interrupted()
        Wrong()
        check_interruption()

    hook = sys.unraisablehook
    sys.unraisablehook = lambda dropped: seen.append(dropped.exc_type)
    try:
        with pytest.raises(typer.Exit) as ended:
            guarded(command)()
    finally:
        sys.unraisablehook = hook
    assert ended.value.exit_code == INTERRUPTED and seen == [LookupError]
    assert capsys.readouterr().err == "organza: interrupted; nothing was written\n"
