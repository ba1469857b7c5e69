"""A board's RTL with a screen in Verilator, bit by bit at its pins, and what the screen should show."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from organza.board import Board
from organza.brightness import screen_channels, to_bytes
from organza.program import Program
from organza_hw.boards.top import TOP
from organza_hw.boards.video_top import SHIFT_HZ
from organza_hw.build import Chip
from organza_sim.board_build import sources
from organza_sim.dvi import HEIGHT, LINE, LINES, SYMBOL_BITS, WIDTH
from organza_sim.verilator import compile_verilog

HARNESS = Path(__file__).with_name("video.cpp")
CELLS = Path(__file__).with_name("ecp5_cells.v")
FRAME_BITS = LINE * LINES * SYMBOL_BITS  # on each line
LINES_OUT = 4  # three channels and the clock
SETTLING = 2000  # bits on each line, by which clocks are steady and words in step


def simulated(board: Board) -> Board:
    """The same board with an oscillator, and an accelerator's clock, as fast as two bits on a line."""
    return board.model_copy(update={"clock": board.clock.model_copy(update={"hz": SHIFT_HZ}), "core_hz": SHIFT_HZ})


def record(chip: Chip, board: Board, count: int, **options: int) -> np.ndarray:
    """What is on the lines for `count` frames from `SETTLING` on, (bits, 4) of three channels and the clock, uint8; options are those of `VideoTop`.

    Whole frames are one fewer, and the first of them is the second that the board sends.

    Raises `VerilatorError` if the RTL does not compile.
    """
    files = sources(chip, simulated(board), video=True, **options)
    program = compile_verilog(
        [*(text for name, text in files.items() if name.endswith(".v")), CELLS], TOP, cpp={HARNESS.name: HARNESS.read_text()}
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            if not name.endswith(".v"):
                Path(folder, name).write_text(text)
        done = subprocess.run([program, str(SETTLING + count * FRAME_BITS)], cwd=folder, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.uint8)[SETTLING:, None] >> np.arange(LINES_OUT, dtype=np.uint8) & 1


def screens(program: Program, outputs: np.ndarray) -> np.ndarray:
    """What a screen shows of integer outputs (N, channels, height, width): (N, 480, 640, 3), uint8, black beside the images."""
    pixels = to_bytes(program, program.dequantize(screen_channels(outputs)))
    count, height, width, _ = pixels.shape
    zoom = min(HEIGHT // height, WIDTH // width)
    made = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    top, left = (HEIGHT - zoom * height) // 2, (WIDTH - zoom * width) // 2
    made[:, top : top + zoom * height, left : left + zoom * width] = pixels.repeat(zoom, 1).repeat(zoom, 2)
    return made
