"""A board's RTL in Verilator behind a pseudo-terminal: a driver opens it like any serial port, and every byte crosses the line bit by bit."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import tempfile
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

from organza.board import Board
from organza_hw.boards.top import TOP
from organza_hw.build import Chip
from organza_hw.external.memory import external_works
from organza_hw.external.sdram_timing import ROUND_TRIP
from organza_hw.loading.image import weight_image
from organza_sim import large_memories, sdram_chip
from organza_sim.board_build import sources
from organza_sim.verilator import compile_verilog
from organza_sim.video import CELLS

FLASH = "flash.bin"
HARNESS = Path(__file__).with_name("serial_board.cpp")
CYCLES = 8  # of a bit: the line is as fast as the RTL likes it


def simulated(board: Board) -> Board:
    """The same board with an oscillator as fast as its accelerator, so without a PLL, and with a line of `CYCLES` clock cycles a bit."""
    clock = board.clock.model_copy(update={"hz": board.core_hz})
    return board.model_copy(update={"clock": clock, "link": board.link.model_copy(update={"baud": board.core_hz // CYCLES})})


class SimulationError(Exception):
    """A simulated board that stopped by itself, and why."""


@contextlib.contextmanager
def serial_board(chip: Chip, board: Board, *, image: bytes | None = None) -> Iterator[str]:
    """Path of a pseudo-terminal whose other end is the simulated board; it runs as long as the block.

    image : what a board that reads weights from its flash finds there; None for the chip's own weights.

    Raises `VerilatorError` if the RTL does not compile, and `SimulationError` behind the block if the simulation ended within it, as it does where
    the rules of an SDRAM are broken.
    """
    quick = simulated(board)
    files = sources(chip, quick)
    flash = quick.flash if chip.program.loads else None
    beside = quick.memory if external_works(chip.program, chip.plan) else None
    texts = [text for name, text in files.items() if name.endswith(".v")]
    program = compile_verilog(
        [*texts, *([large_memories.MODEL.read_text()] if any("LARGE(1)" in text for text in texts) else []), *([CELLS.read_text()] if beside else [])],
        TOP,
        cpp={
            HARNESS.name: HARNESS.read_text(), sdram_chip.HEADER.name: sdram_chip.HEADER.read_text(),
            "parts.h": f"#define FLASH {int(flash is not None)}\n#define SDRAM {int(beside is not None)}\n",
        },
        flags=["--pins-inout-enables"] if beside else [],
    )  # fmt: skip
    ours, theirs = pty.openpty()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for name, text in files.items():
            if not name.endswith(".v"):
                Path(folder, name).write_text(text)
        if flash is not None:
            content = weight_image(chip.program, chip.plan) if image is None else image
            Path(folder, FLASH).write_bytes(bytes(flash.offset) + content)
        tty.setraw(theirs)
        complaints = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            [program, str(quick.divisor), FLASH, str(quick.core_hz), str(ROUND_TRIP), sdram_chip.numbers(beside) if beside else ""],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, bufsize=0,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        relays = [
            threading.Thread(target=_relay, args=pair, daemon=True)
            for pair in ((ours, process.stdin.fileno()), (process.stdout.fileno(), ours))
        ]
        try:
            for relay in relays:
                relay.start()
            yield os.ttyname(theirs)
        finally:
            status = process.poll()
            process.kill()
            process.wait()
            for end in (theirs, ours):
                os.close(end)
            for relay in relays:
                relay.join(timeout=5)
            process.stdin.close()
            process.stdout.close()
            if status is not None:
                complaints.seek(0)
                raise SimulationError(f"the simulated board stopped with status {status}: {complaints.read().decode().strip()}")


def _relay(source: int, sink: int) -> None:
    """Bytes from one end to the other until one is closed."""
    with contextlib.suppress(OSError):
        while data := os.read(source, 4096):
            os.write(sink, data)
