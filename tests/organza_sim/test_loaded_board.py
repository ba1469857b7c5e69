"""A board whose weights come from its flash or over its line, bit by bit in Verilator: its single-port RAMs, its pins, its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from organza.board import load_board
from organza.driver import Driver, LinkError, serial_port
from organza.errors import UserError
from organza.loadable import fitted, loadable
from organza.program import Program
from organza.program_file import program_hash
from organza.weight_image import Reason
from organza_hw.build import Chip, build
from organza_hw.loading.image import loaded_memories, weight_image
from organza_sim import api, large_memories, toolchain
from organza_sim.board_build import flash_image, make, sources
from organza_sim.planner import plan_program
from organza_sim.serial_board import serial_board
from organza_sim.sharing import Share
from tests.loadable_programs import other_weights, ternary_program
from tests.repeated import some_now
from tests.strategies import random_input

pytestmark = pytest.mark.rtl
BOARD = load_board("icebreaker")
BAUD = 115_200  # means nothing to a pseudo-terminal


@pytest.fixture(scope="module")
def chip() -> Chip:
    program = loadable(ternary_program())
    return build(program, plan_program(program, 32))


@pytest.fixture(scope="module")
def shared() -> Chip:
    """The same layers one after the other on 5×8 lanes."""
    program = loadable(ternary_program())
    return build(program, plan_program(program, 40, shares=(Share(0, 2, 5, 8),)))


@pytest.fixture(scope="module")
def other(chip: Chip) -> Program:
    return fitted(other_weights(np.random.default_rng(3), chip.program), chip.program)


@pytest.fixture(scope="module")
def port(chip: Chip) -> Iterator[str]:
    with serial_board(chip, BOARD) as path:
        yield path


def test_the_large_memory_is_in_single_port_rams(chip: Chip) -> None:
    memories = loaded_memories(chip.program, chip.plan)
    chosen = large_memories.choose(BOARD.device, memories)
    assert chosen == ["layer0_weights"]
    width, depth = memories["layer0_weights"]
    assert width * depth > BOARD.device.block_ram_bits and width <= 64
    text = sources(chip, BOARD)["generator.v"]
    assert text.count(".LARGE(1)") == 1 and "flash_sck" in sources(chip, BOARD)["board.v"]
    assert ".LARGE(1)" not in sources(chip, load_board("ulx3s-85f"))["generator.v"]


def test_lane_words_of_all_layers_fill_the_four_rams(shared: Chip) -> None:
    """Eight bytes of five ternary weights each."""
    memories = loaded_memories(shared.program, shared.plan)
    assert memories["layer0_weights"][0] == 64 == BOARD.device.large_rams * BOARD.device.large_ram_width
    assert large_memories.choose(BOARD.device, memories) == ["layer0_weights"]
    assert sources(shared, BOARD)["generator.v"].count(".LARGE(1)") == 1


@pytest.mark.full
def test_a_shared_engine_behind_flash_and_line(shared: Chip, other: Program) -> None:
    with serial_board(shared, BOARD) as port:
        check_own_and_other_weights(shared, other, port)


def test_own_weights_from_the_flash_and_others_over_the_line(chip: Chip, other: Program, port: str) -> None:
    check_own_and_other_weights(chip, other, port)


def check_own_and_other_weights(chip: Chip, other: Program, port: str) -> None:
    """Bit-exact with both, one after the other; and as many cycles as the model says."""
    x = random_input(np.random.default_rng(1), chip.program, 6)
    images = {program: weight_image(chip.program, chip.plan, program) for program in (chip.program, other)}
    with Driver(serial_port(port, BAUD)) as driver:
        driver.expect(chip.program, program_hash(chip.program))
        for program, image in images.items():
            if program is other:
                assert not driver.has(image)
                driver.load(image)
            assert driver.has(image)
            assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
            count = 20
            cycles, _ = driver.measure(count, seed=1)
            more, _ = driver.measure(count + 10, seed=1)
            assert more - cycles == 10 * chip.plan.interval
        assert driver.damages == []
    assert not np.array_equal(other.run(x), chip.program.run(x))


def test_a_refused_image_and_a_good_one(chip: Chip, other: Program, port: str) -> None:
    """No image is made of half an image of weights, or of a wrong one; the reason is told."""
    image, x = weight_image(chip.program, chip.plan, other), random_input(np.random.default_rng(1), chip.program, 1)
    with Driver(serial_port(port, BAUD)) as driver:
        driver.expect(chip.program, program_hash(chip.program))
        for place, reason in ((0, Reason.MAGIC), (4, Reason.VERSION), (6, Reason.SHAPE), (14, Reason.LENGTH), (300, Reason.CRC)):
            wrong = bytearray(image)
            wrong[place] ^= 1
            with pytest.raises(LinkError, match=f"^the board refuses the weights: {reason.text}$"):
                driver.load(bytes(wrong))
            assert (driver.weights().accepted, driver.weights().reason) == (False, reason)
            with pytest.raises(LinkError, match=r"^the board has no weights; "):
                next(driver.images(chip.program, x))
        with pytest.raises(LinkError, match=r"^the board did not take the weights whole"):
            driver.load(image[:500])
        driver.load(image)
        assert np.array_equal(next(driver.images(other, x))[None], other.run(x))


@pytest.mark.parametrize("place", [5, pytest.param(400, marks=pytest.mark.full)])
def test_a_flash_with_a_wrong_bit(chip: Chip, other: Program, place: int) -> None:
    """The board says so and makes nothing, until weights come over the line."""
    image = bytearray(weight_image(chip.program, chip.plan))
    image[place] ^= 1 << 3
    x = random_input(np.random.default_rng(1), chip.program, 1)
    with serial_board(chip, BOARD, image=bytes(image)) as path, Driver(serial_port(path, BAUD)) as driver:
        driver.expect(chip.program, program_hash(chip.program))
        assert not driver.has(weight_image(chip.program, chip.plan))
        assert driver.weights().reason == (Reason.SHAPE if place == 5 else Reason.CRC)
        with pytest.raises(LinkError, match=r"^the board has no weights; "):
            next(driver.images(chip.program, x))
        driver.load(weight_image(chip.program, chip.plan, other))
        assert np.array_equal(next(driver.images(other, x))[None], other.run(x))


@pytest.mark.parametrize("which", some_now(["shared", "chip"], 1))
def test_cycles_equal_the_model_with_single_port_rams(which: str, other: Program, request: pytest.FixtureRequest) -> None:
    """The accelerator alone, its large memory in RAMs of one port."""
    chip: Chip = request.getfixturevalue(which)
    names = large_memories.choose(BOARD.device, loaded_memories(chip.program, chip.plan))
    source = large_memories.placed(chip.verilog(), names) + large_memories.MODEL.read_text()
    x = random_input(np.random.default_rng(4), chip.program, 3)
    for text in (chip.verilog(), source) if which == "chip" else (source,):
        made = api.simulate(Chip(chip.program, chip.plan, text, chip.files, chip.memory_bits), x, weights=other)
        assert np.array_equal(made.outputs, other.run(x))
        assert (made.latency, made.interval) == (chip.plan.cycles, chip.plan.interval)


@pytest.mark.synth
@pytest.mark.full
def test_bitstream_and_weights_in_one_file(tmp_path: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer fits beside the line and the flash; other weights take the same bitstream, without synthesis."""
    program = loadable(Program(ternary_program().nodes[:1]))
    chip = build(program, plan_program(program, 8))
    board = BOARD.with_core_hz(BOARD.core_hz // 2)
    made = make(chip, board, "icebreaker", tmp_path)
    assert made.used["large_rams"] == 1 and made.used["block_rams"] <= 30
    first = (tmp_path / made.bitstream).read_bytes()
    assert BOARD.flash is not None
    image = weight_image(program, chip.plan)
    assert first[BOARD.flash.offset :] == image == (tmp_path / "weights.bin").read_bytes()
    monkeypatch.setattr(toolchain, "synthesize", None)
    other = other_weights(np.random.default_rng(0), program)
    make(chip, board, "icebreaker", tmp_path, weights=other)
    second = (tmp_path / made.bitstream).read_bytes()
    assert second[: BOARD.flash.offset] == first[: BOARD.flash.offset]
    assert second[BOARD.flash.offset :] == weight_image(program, chip.plan, other)


def test_a_bitstream_before_its_weights() -> None:
    """Padded as an erased flash is; one that reaches into the weights is refused, and so are weights beyond the flash."""
    assert BOARD.flash is not None
    made = flash_image(BOARD, b"bits", b"image")
    assert made == b"bits" + b"\xff" * (BOARD.flash.offset - 4) + b"image"
    assert flash_image(BOARD, b"bits", b"") == b"bits" == flash_image(load_board("ulx3s-85f"), b"bits", b"image")
    with pytest.raises(UserError, match=r"^offset of the board's flash must be at least 131,073, the bytes of the bitstream, not 131,072$"):
        flash_image(BOARD, bytes(BOARD.flash.offset + 1), b"image")
    program = loadable(Program(ternary_program().nodes[1:]))
    chip = build(program, plan_program(program, 8))
    least = BOARD.flash.offset + len(weight_image(program, chip.plan))
    sources(chip, BOARD.model_copy(update={"flash": BOARD.flash.model_copy(update={"bytes": least})}))
    with pytest.raises(ValueError, match=rf"^Flash must have at least {least:,} bytes for the weights, not {least - 1:,}$"):
        sources(chip, BOARD.model_copy(update={"flash": BOARD.flash.model_copy(update={"bytes": least - 1})}))
