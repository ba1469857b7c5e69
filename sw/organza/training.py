"""Adversarial training that can be stopped at any step and resumed to the same result.

Every random draw is keyed by (seed, purpose, epoch or step), so a checkpoint needs no generator
state: weights, optimiser moments and the step number are all there is.

Folder written: `generator.safetensors` (averaged weights, what the rest of Organza reads),
`discriminator.safetensors` (for `organza compress` to go on with),
`state.safetensors` (everything, to resume from), `log.jsonl` (one line an interval) and
`samples.png`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from organza.checkpoint import load_checkpoint
from organza.errors import UserError
from organza.models import check_int
from organza.sampling import from_uint8, seeded
from organza.train_config import TrainConfig
from organza.train_log import Log, Meter, Progress
from organza.train_run import GENERATOR_FILE, STATE_FILE, Run

LOG_FILE = "log.jsonl"
_SHUFFLE = 3  # The purpose of this random draw; `train_run` names the others.


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: `finished` is False if it was stopped and can be resumed.

    The losses are the last reported ones; None where nothing was left to train.
    """

    finished: bool
    step: int
    steps: int
    seconds: float
    d_loss: float | None
    g_loss: float | None
    generator: Path


def read_state(out: Path) -> tuple[TrainConfig, int, dict[str, Tensor]]:
    """Config, steps done and tensors of the run in folder `out`. `UserError` if there is none."""
    path = out / STATE_FILE
    if not path.is_file():
        raise UserError(f"{out}: must hold {STATE_FILE} to resume from, found none")
    try:
        tensors, metadata = load_checkpoint(path)
        if metadata.get("kind") != "training":
            raise ValueError(f"{path}: must hold a training run, found {metadata.get('kind')!r}")
        config = TrainConfig.from_dict(metadata.get("training", {}))
        step = check_int("step", metadata.get("step"), 0, 1 << 40)
    except (TypeError, ValueError) as error:
        raise UserError(f"cannot resume: {error}") from error
    return config, step, tensors


def train(
    config: TrainConfig,
    images: np.ndarray,
    *,
    out: str | Path,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
    log_every: int = 50,
    stop_at: int | None = None,
) -> TrainResult:
    """Train a generator on `images`, uint8 (N, channels, resolution, resolution).

    out: the folder to write; it must be absent or empty, or with `resume` hold a run of the very
        same `config`.
    progress: called every `log_every` steps and at each epoch's end.
    stop_at: stop after this step as if interrupted.

    Ctrl-C ends the step in hand, saves and returns with `finished` False; a second one raises
    KeyboardInterrupt at once, leaving the last checkpoint. Training on other images, or with
    another number of threads, breaks the equality of resumed and uninterrupted runs.

    Raises TypeError for wrong kinds and `UserError` for unusable images or folder.
    """
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, got {type(config).__name__}")
    out = Path(out)
    per_epoch = _check_images(config, images)
    run, start = Run(config), 0
    if resume:
        stored, start, tensors = read_state(out)
        if stored != config:
            raise UserError(f"{out}: holds a run with other settings: {stored.difference(config)}")
        try:
            run.restore(out / STATE_FILE, tensors)
        except ValueError as error:
            raise UserError(f"cannot resume: {error}") from error
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: output folder must be empty or absent (or resume the run in it)")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error

    steps = per_epoch * config.epochs
    log = Log(out / LOG_FILE, start)
    meter = Meter(config.batch)
    clock = time.monotonic()
    step, report = start, None
    with _interruptible() as interrupted:
        for step, indices in _batches(config, len(images), per_epoch, start):
            meter.add(*run.step(_batch(images[indices]), step - 1, steps))
            ends_epoch = step % per_epoch == 0
            stopped = interrupted.is_set() or step == stop_at
            if not (ends_epoch or stopped or step % log_every == 0):
                continue
            report = meter.report(step, steps, -(-step // per_epoch))
            log.add(report)
            if progress is not None:
                progress(report)
            if ends_epoch or stopped:
                log.write()
                run.save(out, step, {"d_loss": report.d_loss, "g_loss": report.g_loss})
            if stopped and step < steps:
                break
    seconds = time.monotonic() - clock
    return TrainResult(
        finished=step == steps,
        step=step,
        steps=steps,
        seconds=seconds,
        d_loss=report.d_loss if report else None,
        g_loss=report.g_loss if report else None,
        generator=out / GENERATOR_FILE,
    )


def _check_images(config: TrainConfig, images: np.ndarray) -> int:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise TypeError("images must be a numpy array of uint8")
    model = config.model
    shape = (model.channels, model.resolution, model.resolution)
    if images.shape[1:] != shape:
        raise UserError(f"images must have shape (N, {shape}), got {images.shape}")
    if len(images) < config.batch:
        raise UserError(f"images must be at least one batch ({config.batch}), got {len(images)}")
    return len(images) // config.batch


def _batches(
    config: TrainConfig, count: int, per_epoch: int, start: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (1-based step, image indices) from after `start`; each epoch is a new permutation."""
    for epoch in range(start // per_epoch, config.epochs):
        order = torch.randperm(count, generator=seeded(config.seed, _SHUFFLE, epoch)).numpy()
        for index in range(per_epoch):
            step = epoch * per_epoch + index + 1
            if step > start:
                yield step, order[index * config.batch : (index + 1) * config.batch]


def _batch(images: np.ndarray) -> Tensor:
    return from_uint8(images).contiguous(memory_format=torch.channels_last)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # Only the main thread may handle signals.
        return
    previous = signal.getsignal(signal.SIGINT)

    def handle(_number: int, _frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
