"""The RTL of boards behind a pseudo-terminal: the same driver, the same images, whatever happens on the line."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from organza.board import load_board
from organza.driver import Driver, serial_port
from organza.host_protocol import Identity, tensor_bytes
from organza.latent_stream import draw
from organza.program_file import program_hash
from organza_hw.build import Chip, build
from organza_sim.cycles import simulate_cycles
from organza_sim.serial_board import serial_board, simulated
from tests.organza.test_driver import Noisy
from tests.plans import random_plan
from tests.strategies import random_input, random_program

pytestmark = pytest.mark.rtl
BOARD = load_board("ulx3s-85f")
BAUD = 115_200  # means nothing to a pseudo-terminal


@pytest.fixture(scope="module")
def chip() -> Chip:
    rng = np.random.default_rng(4)
    program = random_program(rng, 2, max_size=4, max_channels=4)
    return build(program, random_plan(rng, program, max_lanes=8))


@pytest.fixture(scope="module")
def port(chip: Chip) -> Iterator[str]:
    with serial_board(chip, BOARD) as path:
        yield path


def test_images_latents_and_measure(chip: Chip, port: str) -> None:
    program = chip.program
    x = random_input(np.random.default_rng(1), program, 20)
    with Driver(serial_port(port, BAUD)) as driver:
        assert driver.expect(program, program_hash(program)) == Identity.of(program, program_hash(program), simulated(BOARD).core_hz)
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
        wanted = program.run(draw(program.input, program.input_shape, 40, seed=3))
        assert np.array_equal(np.stack([*driver.latents(program, 40, seed=3)]), wanted)
        cycles, crc = driver.measure(40, seed=3)
        assert crc == zlib.crc32(b"".join(tensor_bytes(y, program.output) for y in wanted))
        model = simulate_cycles(program, chip.plan, 40)
        assert cycles >= model.sent[-1] - model.first
        assert driver.damages == []


def test_a_thousand_frames_with_noise(chip: Chip, port: str) -> None:
    """Bytes are changed, lost and doubled in both directions: no wrong image, and none that is lost without an error."""
    program = chip.program
    x = random_input(np.random.default_rng(5), program, 500)
    lines: list[Noisy] = []

    def opened() -> Any:
        lines.append(Noisy(serial_port(port, BAUD)(), 1000, len(lines)))
        return lines[-1]

    with Driver(opened, timeout=0.3) as driver:
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
    assert sum(line.hits for line in lines) >= 10 and driver.damages
