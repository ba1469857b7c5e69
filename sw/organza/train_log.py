"""What a training run reports: mean losses and rate, to a callback and to a log file."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from organza.checkpoint import write_atomically
from organza.errors import UserError


@dataclass(frozen=True)
class Progress:
    """One report: step of steps, mean losses since the last report, images a second.

    g_loss is None where a critic's steps left the generator no update since the last report.
    """

    step: int
    steps: int
    epoch: int
    d_loss: float
    g_loss: float | None
    images_per_second: float


class Meter:
    """Mean losses and rate between reports."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._d: list[float] = []
        self._g: list[float] = []
        self._since = time.monotonic()

    def add(self, d_loss: float, g_loss: float | None) -> None:
        if not np.isfinite(d_loss) or (g_loss is not None and not np.isfinite(g_loss)):
            raise UserError(
                f"training diverged: losses must be finite, got {d_loss} and {g_loss}; "
                "use a smaller rate or another loss"
            )
        self._d.append(d_loss)
        if g_loss is not None:
            self._g.append(g_loss)

    def report(self, step: int, steps: int, epoch: int) -> Progress:
        now = time.monotonic()
        d_loss = float(np.mean(self._d))
        g_loss = float(np.mean(self._g)) if self._g else None
        rate = len(self._d) * self.batch / max(now - self._since, 1e-9)
        self._d, self._g, self._since = [], [], now
        return Progress(step, steps, epoch, d_loss, g_loss, rate)


class Log:
    """`log.jsonl`: one report a line; a resumed run drops lines after its checkpoint."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._lines: list[str] = []
        if start and path.is_file():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                self._lines = [line for line in lines if json.loads(line)["step"] <= start]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}: must hold one JSON object with 'step' a line, found otherwise; "
                    "remove it to resume without the log so far"
                ) from error

    def add(self, report: Progress) -> None:
        self._lines.append(json.dumps({k: _short(v) for k, v in asdict(report).items()}))

    def write(self) -> None:
        write_atomically(self._path, ("\n".join(self._lines) + "\n").encode())


def _short(value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) else value
