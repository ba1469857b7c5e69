"""Weights in the SDRAM of an ULX3S: the board's top module at its pins in Verilator, its line, and a chip model that refuses what is forbidden."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from organza.board import load_board
from organza.driver import Driver, LinkError, serial_port
from organza.program_file import program_hash
from organza_hw.build import Chip, build
from organza_hw.external.layout import sent_image
from organza_sim.planner import plan_program
from organza_sim.serial_board import serial_board
from tests.strategies import random_input
from tests.tiny import tiny_program

pytestmark = pytest.mark.rtl
BOARD = load_board("ulx3s-85f")
BAUD = 115_200  # means nothing to a pseudo-terminal


@pytest.fixture(scope="module")
def chip() -> Chip:
    """All layers beside the chip."""
    program = tiny_program()
    names = [node.name for node in program.nodes]
    return build(program, plan_program(program, 8, orders=dict.fromkeys(names, "weight"), memories=dict.fromkeys(names, "external")))


@pytest.fixture(scope="module")
def port(chip: Chip) -> Iterator[str]:
    with serial_board(chip, BOARD) as path:
        yield path


def test_images_once_weights_are_there(chip: Chip, port: str) -> None:
    program = chip.program
    x = random_input(np.random.default_rng(1), program, 6)
    image = sent_image(program, chip.plan, BOARD.memory)
    with Driver(serial_port(port, BAUD)) as driver:
        driver.expect(program, program_hash(program))
        assert not driver.has(image)
        with pytest.raises(LinkError, match=r"^the board has no weights; "):
            next(driver.images(program, x))
        driver.load(image)
        assert driver.has(image)
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
        assert driver.damages == []
