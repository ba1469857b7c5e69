"""Weights in the SDRAM of an ULX3S: the board's top module at its pins in Verilator, its line, and a chip model that refuses what is forbidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from organza.board import Board, Memory, load_board
from organza.cli import app
from organza.driver import Driver, LinkError, serial_port
from organza.loadable import loadable
from organza.program import Program
from organza.program_file import program_hash
from organza.weight_image import Reason
from organza_hw.build import Chip, build
from organza_hw.external.layout import sent_image, stored_bytes
from organza_hw.external.reader import image_cycles
from organza_sim import board_build, sdram_chip, toolchain
from organza_sim.board_build import make, more_pins, sources
from organza_sim.budget import Budget
from organza_sim.budget_planner import lines, plan_within
from organza_sim.build_folder import WEIGHTS, write_build
from organza_sim.planner import plan_program
from organza_sim.serial_board import SimulationError, serial_board
from organza_sim.sharing import Share
from tests.repeated import some_now
from tests.strategies import random_input
from tests.tiny import tiny_program

pytestmark = pytest.mark.rtl
BOARD = load_board("ulx3s-85f")
BAUD = 115_200  # means nothing to a pseudo-terminal
MEMORY = BOARD.memory
assert MEMORY is not None and MEMORY.timing is not None


def timed(**times: float) -> Memory:
    """The board's memory with these other times."""
    assert MEMORY is not None and MEMORY.timing is not None
    return MEMORY.model_copy(update={"timing": MEMORY.timing.model_copy(update=times)})


def beside(program: Program, layers: list[str], lanes: int = 8) -> Chip:
    """With the weights of these layers beside it."""
    return build(program, plan_program(program, lanes, orders=dict.fromkeys(layers, "weight"), memories=dict.fromkeys(layers, "external")))


@pytest.fixture(scope="module")
def chip() -> Chip:
    """All layers beside the chip."""
    program = tiny_program()
    return beside(program, [node.name for node in program.nodes])


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


def test_layers_that_share_an_engine() -> None:
    """Their words come through one port, layer after layer."""
    program = tiny_program()
    names = [node.name for node in program.nodes]
    given = {"orders": dict.fromkeys(names, "weight"), "memories": dict.fromkeys(names, "external")}
    shared = build(program, plan_program(program, 6, shares=(Share(0, 2, 2, 3),), **given))
    x = random_input(np.random.default_rng(8), program, 3)
    with serial_board(shared, BOARD) as path, Driver(serial_port(path, BAUD)) as driver:
        driver.expect(program, program_hash(program))
        driver.load(sent_image(program, shared.plan, MEMORY))
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))


def test_a_refused_image_and_a_good_one(chip: Chip, port: str) -> None:
    """No image is made of half an image of weights, or of a wrong one, or one of another Plan; the reason is told."""
    program, x = chip.program, random_input(np.random.default_rng(2), chip.program, 2)
    image = sent_image(program, chip.plan, MEMORY)
    others = beside(program, [node.name for node in program.nodes], lanes=16)
    with Driver(serial_port(port, BAUD)) as driver:
        driver.expect(program, program_hash(program))
        damaged = bytearray(image)
        damaged[100] ^= 1
        for wrong, reason in ((bytes(damaged), Reason.CRC), (sent_image(program, others.plan, MEMORY), Reason.SHAPE)):
            with pytest.raises(LinkError, match=f"^the board refuses the weights: {reason.text}$"):
                driver.load(wrong)
            with pytest.raises(LinkError, match=r"^the board has no weights; "):
                next(driver.images(program, x))
        driver.load(image)
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
        cycles, more = (driver.measure(count, seed=1)[0] for count in (20, 220))
        assert chip.plan.interval < (more - cycles) / 200 == pytest.approx(image_cycles(program, chip.plan, BOARD), rel=0.02)


def test_one_layer_inside_and_a_slow_clock() -> None:
    """Words are taken with the falling edge, of one engine; the other has its own on the chip."""
    program = tiny_program()
    chip, slow = beside(program, [program.nodes[0].name]), BOARD.with_core_hz(75_000_000)
    falling = "always @(negedge clk)"
    assert falling in sources(chip, slow)["board.v"] and falling not in sources(chip, BOARD)["board.v"]
    x = random_input(np.random.default_rng(3), program, 3)
    with serial_board(chip, slow) as path, Driver(serial_port(path, BAUD)) as driver:
        driver.expect(program, program_hash(program))
        driver.load(sent_image(program, chip.plan, MEMORY))
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))


NEEDS = {"row_to_column": (40.0, "tRCD"), "refresh_interval": (5000.0, "refresh: too few"), "initialization": (300_000.0, "initialisation")}


@pytest.mark.parametrize("name", some_now(NEEDS, 1))
def test_a_chip_that_needs_longer_stops_the_board(chip: Chip, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model at the pins is one that sees it."""
    time, rule = NEEDS[name]
    text = sdram_chip.numbers(timed(**{name: time}))
    monkeypatch.setattr(sdram_chip, "numbers", lambda memory: text)
    with pytest.raises(SimulationError, match=rf"^the simulated board stopped with status 6: SDRAM at .* ns: {rule}"):
        with serial_board(chip, BOARD) as path, Driver(serial_port(path, BAUD), timeout=0.2) as driver:
            driver.load(sent_image(chip.program, chip.plan, MEMORY))


def test_from_the_command_line(tmp_path: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    """`organza synth` writes the image and what the memory allows, `organza run` sends the image."""
    folder, output = tmp_path / "build", tmp_path / "out"
    folder.mkdir()
    write_build(folder, chip, random_input(np.random.default_rng(0), chip.program, 2))
    seen = []

    def placed(folder: Path, board: Board, top: str, *, seed: int, more: dict) -> dict:
        seen.append(more)
        (folder / "board.bit").write_bytes(b"bits")
        return {"fmax": {"clk": {"achieved": 130.0}}, "utilization": {cell: {"used": 1} for cell in toolchain.CELLS["ecp5"].values()}}

    monkeypatch.setenv("ORGANZA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "synthesize", lambda folder, family, top, files: (folder / f"{top}.json").write_text('{"modules": {"board": {"cells": {}}}}'))
    monkeypatch.setattr(toolchain, "place", placed)
    monkeypatch.setattr(toolchain, "pack", lambda *args: "board.bit")
    made = CliRunner().invoke(app, ["synth", str(folder), "--board", "ulx3s-85f", "-o", str(output)])
    assert made.exit_code == 0, made.output
    report = json.loads((output / "report.json").read_text())
    size = stored_bytes(chip.program, chip.plan, 16)
    assert report["memory_bytes"] == size and f"each of which reads {size:,} bytes beside the chip" in made.output
    assert 0.85 < report["memory_images_per_second"] * size / 2 / 125e6 < 1
    assert report["images_per_second"] == min(report["memory_images_per_second"], round(125e6 / chip.plan.interval, 1))
    assert (output / WEIGHTS).read_bytes() == sent_image(chip.program, chip.plan, MEMORY)
    assert seen == [BOARD.memory_pins] and 'LOCATE COMP "sdram_a[12]" SITE "G19";' in (output / "board.lpf").read_text()
    monkeypatch.undo()
    for port in ("rtl", "reference"):
        ran = CliRunner().invoke(app, ["run", str(folder), "--port", port, "--images", "2", "--measure", "5", "-o", str(tmp_path / port)])
        assert ran.exit_code == 0 and "2 images, bit-exact" in ran.output, ran.output


def test_a_planner_knows_the_memory() -> None:
    """What it says of the rate is the memory's, where that is slower than the core."""
    program = tiny_program()
    names = [node.name for node in program.nodes]
    planned = plan_within(
        program, Budget.of_board(BOARD, "ulx3s-85f"), orders=dict.fromkeys(names, "weight"), memories=dict.fromkeys(names, "external"), shares=()
    )
    cycles = image_cycles(program, planned.plan, BOARD)
    assert cycles > planned.plan.interval and planned.images_per_second == BOARD.core_hz / cycles and planned.binds == "memory"
    assert lines(planned.report())[-1] == "limit: the memory beside the chip"
    assert image_cycles(program, plan_program(program, 8), BOARD) == 0


def test_what_is_refused(tmp_path: Path, chip: Chip) -> None:
    """Before anything is made, with what to do."""
    small = BOARD.model_copy(update={"memory": MEMORY.model_copy(update={"mebibytes": 0})}) if MEMORY else BOARD
    size = stored_bytes(chip.program, chip.plan, 16)
    names = ", ".join(node.name for node in chip.program.nodes)
    last = loadable(chip.program, [chip.program.nodes[1].name])
    mixed = beside(last, [last.nodes[0].name])
    for one, board, video, message in (
        (chip, load_board("orangecrab-85f"), False, r"must be on the chip: OrangeCrab .* has no memory whose pins are known \(\[memory\.pins\]\); build without --memory"),
        (chip, load_board("icebreaker").model_copy(update={"memory": MEMORY}), False, r"must be on the chip: only an ECP5 has pads for a memory here, not ice40"),
        (chip, small, False, rf"must have at most 0 bytes in the board's memory, not {size:,} \({size:,} too many\); a --code of fewer bits would help"),
        (chip, BOARD, True, r"must be on the chip for a screen, which no host fills a memory for; build without --memory"),
    ):
        with pytest.raises(ValueError, match=f"^Weights of layer {names} {message}"):
            make(one, board, "mine", tmp_path, video=video)
    with pytest.raises(ValueError, match=r"or those of all others in the bitstream: build without --loadable, or without --memory$"):
        make(mixed, BOARD, "mine", tmp_path)
    with pytest.raises(ValueError, match=r"^Clock of the accelerator must be at most 133\.3 MHz for the board's memory, not 150$"):
        make(chip, BOARD.with_core_hz(150_000_000), "mine", tmp_path)
    assert list(tmp_path.iterdir()) == [] and more_pins(chip, BOARD) == BOARD.memory_pins and board_build.sources(chip, BOARD)
