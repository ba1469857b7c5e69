"""A whole board with a screen, from the oscillator to the bits on its pins: what a receiver makes of them is the reference's images."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest

from organza.board import load_board
from organza.latent_stream import draw
from organza.program import Program
from organza_hw.boards.video_top import check_video
from organza_hw.build import Chip, build
from organza_sim import dvi
from organza_sim.planner import plan_program
from organza_sim.video import record, screens, simulated
from tests.strategies import random_program
from tests.tiny import LANES, tiny_program

BOARD = load_board("ulx3s-85f")
TINY = tiny_program(), plan_program(tiny_program(), LANES)


def colours() -> Program:
    """A Program of three channels, which is as high as it is wide or not."""
    for seed in range(100):
        program = random_program(np.random.default_rng(seed), 1, max_size=4, max_channels=4)
        _, height, width = program.output_shape
        if program.output_shape[0] == 3 and height != width and height * width > 8:
            return program
    raise AssertionError("no such Program")


def wanted(program: Program, count: int, seed: int) -> np.ndarray:
    """The screen for the first `count` images."""
    return screens(program, program.run(draw(program.input, program.input_shape, count, seed)))


def made(program: Program) -> Chip:
    return build(program, plan_program(program, LANES))


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """Bits of four frames, a new image in each."""
    return record(made(tiny_program()), BOARD, 4, frames=1)


@pytest.mark.rtl
@pytest.mark.slow
def test_an_image_a_frame(grey: np.ndarray) -> None:
    found, images = dvi.receive(grey), wanted(tiny_program(), 3, seed=1)
    assert found.shape == (3, 480, 640, 3)
    assert np.array_equal(found, images)
    assert all((a != b).any() for a, b in zip(images[:-1], images[1:], strict=True))
    assert (found[..., 0] == found[..., 1]).all() and found.min() < 20 and found.max() > 230


@pytest.mark.rtl
@pytest.mark.full
def test_colours_for_two_frames_each() -> None:
    program = colours()
    found = dvi.receive(record(made(program), BOARD, 5, frames=2, seed=9))
    assert np.array_equal(found, wanted(program, 2, seed=9).repeat(2, axis=0))
    assert [len([*group]) for _, group in groupby(frame.tobytes() for frame in found)] == [2, 2]
    assert (found[..., 0] != found[..., 2]).any()


PLACES = r"in \d+ places, first in frame 0, line \d+, pixel \d+$"
LINE_BITS = dvi.LINE * dvi.SYMBOL_BITS


def without(bits: np.ndarray, count: int, channels: slice) -> None:
    """Bits are lost in the middle of channels."""
    middle = len(bits) // 2
    bits[middle:-count, channels] = bits[middle + count :, channels].copy()


def later(bits: np.ndarray, count: int, channel: int) -> None:
    bits[count:, channel] = bits[:-count, channel].copy()


def inverted(bits: np.ndarray, where: slice, channels: slice | int) -> None:
    bits[where, channels] ^= 1


EVERY, DATA = slice(None), slice(3)


@pytest.mark.rtl
@pytest.mark.parametrize("damage, message", [
    (lambda bits: without(bits, 1, DATA), r"^(blank|hsync|vsync|channels)"),
    (lambda bits: without(bits, 10, DATA), rf"^(blank|hsync) is wrong {PLACES}"),
    (lambda bits: without(bits, LINE_BITS, EVERY), rf"^(blank|vsync) is wrong {PLACES}"),
    (lambda bits: later(bits, 1, 1), r"^channels begin their symbols at \[(\d), (?!\1)\d, \1\]$"),
    (lambda bits: later(bits, 10, 2), r"^channels are blank at different times$"),
    (lambda bits: later(bits, 10, 0), r"^channels are blank at different times$"),
    (lambda bits: inverted(bits, EVERY, 0), rf"^hsync is wrong {PLACES}"),
    (lambda bits: inverted(bits, EVERY, 1), r"^channels 1 and 2 have control bits$"),
    (lambda bits: inverted(bits, slice(len(bits) // 2, len(bits) // 2 + 1), 3), r"^the clock is wrong at bit \[\d+\] of \d+$"),
    (lambda bits: bits.fill(0), r"^the clock is wrong at bit \[0\] of \d+$"),
])  # fmt: skip
def test_streams_that_are_wrong(grey: np.ndarray, damage: Callable[[np.ndarray], None], message: str) -> None:
    """The receiver is one that sees it: lost bits, channels out of step, wrong syncs, a clock that falters."""
    bits = grey[: len(grey) // 4 * 3].copy()
    damage(bits)
    with pytest.raises(dvi.DviError, match=message):
        dvi.receive(bits)


@pytest.mark.rtl
def test_a_silent_channel(grey: np.ndarray) -> None:
    bits = grey[: len(grey) // 4].copy()
    bits[:, 1] = 0
    with pytest.raises(dvi.DviError, match=r"^control symbols in a row begin at \[\], not at one place of 10$"):
        dvi.receive(bits)
    with pytest.raises(dvi.DviError, match=r"^there is no whole frame$"):
        dvi.receive(grey[: len(grey) // 8])


@pytest.mark.parametrize("board, options, message", [
    ("ecpix5-85f", {}, r"^Board must have a table \[video\] for a screen, and ECPIX-5.* has none$"),
    ("ulx3s-85f", {"frames": 0}, r"^Frames must be between 1 and 65536, not 0$"),
    ("ulx3s-85f", {"seed": -1}, r"^Seed must be between 0 and \d+, not -1$"),
])  # fmt: skip
def test_what_is_refused(board: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_video(load_board(board), *TINY, **options)


def test_other_devices_and_clocks_are_refused() -> None:
    other = load_board("icebreaker").model_copy(update={"video": BOARD.video})
    with pytest.raises(ValueError, match=r"^Board must have an ECP5 for a screen, not ice40$"):
        check_video(other, *TINY)
    clock = BOARD.clock.model_copy(update={"hz": 27_000_000})
    with pytest.raises(ValueError, match=r"^PLL of ecp5 must give 125000000 Hz from 27000000 Hz, and no divisors do$"):
        check_video(BOARD.model_copy(update={"clock": clock, "core_hz": 27_000_000}), *TINY)
    check_video(simulated(BOARD), *TINY)
