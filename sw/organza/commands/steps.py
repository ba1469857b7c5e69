"""Signs of life: what a command is doing, and for how long, on standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# A reader of a log file should never wait longer than this for the next line.
HEARTBEAT_SECONDS = 1.5

Report = Callable[[str, float], None]

# Set when the user wants the command to end.
interruption = threading.Event()


def check_interruption() -> None:
    """Raises KeyboardInterrupt if the user wants the command to end."""
    if interruption.is_set():
        raise KeyboardInterrupt


class Steps:
    """The steps of a command, one after the other: a spinner with a bar and the elapsed time on a terminal, lines elsewhere.

    Use as a context manager. Nothing is shown if `quiet`.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.live = self.console.is_terminal and not quiet
        self.bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.live,
        )

    def __enter__(self) -> Steps:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[Report]:
        """Show that `title` is going on; yields a function to call with a detail and the fraction done."""
        check_interruption()
        show = self._bar if self.live else self._lines
        with show(title) as report:

            def checked(detail: str, fraction: float) -> None:
                check_interruption()
                report(detail, fraction)

            yield checked
        check_interruption()

    @contextmanager
    def _bar(self, title: str) -> Iterator[Report]:
        task = self.bars.add_task(escape(title), total=None)

        def report(detail: str, fraction: float) -> None:
            total = 1.0 if fraction > 0 else None
            self.bars.update(task, description=escape(detail), completed=fraction, total=total)

        yield report
        self.bars.update(task, description=escape(title), completed=1.0, total=1.0)

    @contextmanager
    def _lines(self, title: str) -> Iterator[Report]:
        """For logs: a line at the start, one every `HEARTBEAT_SECONDS`, and one at the end."""
        start = time.monotonic()
        state = [title, 0.0]
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                percent = f", {state[1]:.0%}" if state[1] else ""
                self._say(f"  {state[0]}{percent}, {time.monotonic() - start:.0f} s")

        def report(detail: str, fraction: float) -> None:
            state[:] = [detail, fraction]

        self._say(f"{title} …")
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield report
        finally:
            stop.set()
            thread.join()
        self._say(f"{title}: {time.monotonic() - start:.1f} s")

    def _say(self, line: str) -> None:
        self.console.print(escape(line), soft_wrap=True)
