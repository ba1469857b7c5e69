"""The driver against the reference behind a line that loses, changes and adds bytes, goes away, and comes back with something else."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from organza.driver import TRIES, Driver, LinkError, serial_port
from organza.errors import UserError
from organza.host_protocol import LOAD_CHUNK, Identity, Kind, Loaded, Refusal, chunks, tensor_bytes
from organza.latent_stream import draw
from organza.link import Decoder, Frame
from organza.loadable import loadable
from organza.program import Program
from organza.program_file import program_hash
from organza.software_board import SoftwareBoard
from organza.weight_image import Reason
from organza_hw.loading.image import read_image, weight_image
from organza_sim.planner import plan_program
from tests.loadable_programs import other_weights, ternary_program
from tests.strategies import random_input, random_program

HZ = 25_000_000


def program_of(seed: int = 0) -> Program:
    return random_program(np.random.default_rng(seed), 2, max_size=4, max_channels=4)


def board_of(program: Program) -> SoftwareBoard:
    return SoftwareBoard(program, program_hash(program), HZ)


class Noisy:
    """A line to a board that changes, loses or doubles a byte in `every`, both ways."""

    def __init__(self, board: Any, every: int, seed: int):
        self.board, self.every, self.rng = board, every, np.random.default_rng(seed)
        self.hits = 0

    def _spoil(self, octets: bytes) -> bytes:
        made = bytearray()
        for byte in octets:
            if self.rng.integers(self.every):
                made.append(byte)
                continue
            self.hits += 1
            made += [b"", bytes([byte, byte]), bytes([byte ^ 1 << int(self.rng.integers(8))])][int(self.rng.integers(3))]
        return bytes(made)

    def write(self, data: bytes, /) -> None:
        self.board.write(self._spoil(data))

    def read(self, size: int, /) -> bytes:
        return self._spoil(self.board.read(min(size, 64)))

    def close(self) -> None:
        pass


class Leaving:
    """A line that goes away after so many reads, once, and then does not open for a while."""

    def __init__(self, boards: list[Any], reads: int, refusals: int = 2):
        self.boards, self.reads, self.refusals = boards, reads, refusals

    def __call__(self) -> Any:
        if len(self.boards) == 1 and self.refusals:
            self.refusals -= 1
            raise OSError("no such port")
        line, board = self, self.boards[0]

        class Line:
            def write(self, data: bytes, /) -> None:
                board.write(data)

            def read(self, size: int, /) -> bytes:
                line.reads -= 1
                if line.reads == 0 and len(line.boards) > 1:
                    line.boards.pop(0)
                    raise OSError("unplugged")
                return board.read(size)

            def close(self) -> None:
                pass

        return Line()


def always(port: Any) -> Callable[[], Any]:
    return lambda: port


def test_images_latents_and_measure() -> None:
    program = program_of()
    x = random_input(np.random.default_rng(1), program, 20)
    with Driver(always(board_of(program))) as driver:
        assert driver.expect(program, program_hash(program)) == Identity.of(program, program_hash(program), HZ)
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
        wanted = program.run(draw(program.input, program.input_shape, 40, seed=3))
        assert np.array_equal(np.stack([*driver.latents(program, 40, seed=3)]), wanted)
        cycles, crc = driver.measure(40, seed=3)
        assert (cycles, crc) == (40, zlib.crc32(b"".join(tensor_bytes(y, program.output) for y in wanted)))
        assert driver.damages == []


@pytest.mark.parametrize("every, seed", [(2000, 0), (400, 1)])
def test_noise(every: int, seed: int) -> None:
    """A thousand frames: no wrong image, and none lost."""
    program = program_of()
    x = random_input(np.random.default_rng(seed), program, 250)
    line = Noisy(board_of(program), every, seed)
    with Driver(always(line), timeout=0.02) as driver:
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
        wanted = program.run(draw(program.input, program.input_shape, 250, seed))
        assert np.array_equal(np.stack([*driver.latents(program, 250, seed)]), wanted)
    assert line.hits and driver.damages


def test_a_line_of_nothing_but_noise_is_given_up() -> None:
    with pytest.raises(LinkError, match=rf"^no answer to HELLO after {TRIES} tries: .*; check power, bitstream and baud$"):
        Driver(always(Noisy(board_of(program_of()), 2, 0)), timeout=0.02).hello()


def test_another_program() -> None:
    program, other = program_of(0), program_of(1)
    with pytest.raises(LinkError, match=r"^the board runs another Program \([0-9a-f]{12}…, not [0-9a-f]{12}…\); load its bitstream$"):
        Driver(always(board_of(program))).expect(other, program_hash(other))


def test_damaged_weights() -> None:
    program = program_of()
    board = SoftwareBoard(program, program_hash(program), HZ, status=2)
    with pytest.raises(LinkError, match=r"^stored weights of layer layer1 are damaged on the board; load its bitstream again$"):
        Driver(always(board)).expect(program, program_hash(program))


def test_a_port_that_goes_away_and_comes_back() -> None:
    program = program_of()
    x = random_input(np.random.default_rng(2), program, 30)
    opened = Leaving([board_of(program), board_of(program)], reads=20)
    with Driver(opened, patience=5) as driver:
        driver.expect(program, program_hash(program))
        assert np.array_equal(np.stack([*driver.images(program, x)]), program.run(x))
    assert len(opened.boards) == 1 and [text for text in driver.damages if "unplugged" in text]


def test_another_board_comes_back() -> None:
    program = program_of()
    x = random_input(np.random.default_rng(2), program, 30)
    with Driver(Leaving([board_of(program), board_of(program_of(1))], reads=20), patience=5) as driver:
        driver.expect(program, program_hash(program))
        with pytest.raises(LinkError, match=r"^another board, or another bitstream, came back at the port$"):
            list(driver.images(program, x))


def test_a_port_that_does_not_come_back() -> None:
    program = program_of()
    with Driver(Leaving([board_of(program), board_of(program)], reads=3, refusals=99), patience=0.3) as driver:
        with pytest.raises(LinkError, match=r"^the port did not come back within 0\.3 s: no such port$"):
            for _ in range(9):
                driver.hello()


def test_a_port_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"none: cannot be opened \(.*\); ports are: "):
        Driver(serial_port(str(tmp_path / "none"), 115_200))


def loading_board() -> tuple[Program, Callable[[Program], bytes], SoftwareBoard]:
    """A Program whose weights are loaded, what makes images for it, and its board."""
    program = loadable(ternary_program())
    plan = plan_program(program, 32)
    board = SoftwareBoard(program, program_hash(program), HZ, load=lambda image: read_image(image, program, plan))
    return program, lambda weights: weight_image(program, plan, weights), board


def test_weights_are_loaded() -> None:
    """Own ones and others; nothing runs before; how far it is is told."""
    program, image_of, board = loading_board()
    rng = np.random.default_rng(2)
    other, x = other_weights(rng, program), random_input(rng, program, 3)
    told: list[float] = []
    with Driver(lambda: board) as driver:
        driver.expect(program, program_hash(program))
        assert not driver.has(image_of(program)) and driver.weights().place == 0
        for ask in (lambda: next(driver.images(program, x)), lambda: next(driver.latents(program, 1, 1)), lambda: driver.measure(1, 1)):
            with pytest.raises(LinkError, match=r"^the board has no weights; load some"):
                ask()
        for weights in (program, other):
            image = image_of(weights)
            driver.load(image, told.append)
            assert driver.has(image) and np.array_equal(np.stack([*driver.images(program, x)]), weights.run(x))
        assert not driver.has(image_of(program))
        assert told == sorted(told[: len(told) // 2]) * 2 and told[-1] == 1.0 and len(told) > 3


@pytest.mark.parametrize("place, reason", [
    (5, Reason.SHAPE), (-1, Reason.CRC),
    *(pytest.param(place, reason, marks=pytest.mark.full) for place, reason in ((0, Reason.MAGIC), (4, Reason.VERSION), (13, Reason.LENGTH))),
])  # fmt: skip
def test_weights_are_refused(place: int, reason: Reason) -> None:
    program, image_of, board = loading_board()
    wrong = bytearray(image_of(program))
    wrong[place] ^= 16
    with Driver(lambda: board) as driver:
        with pytest.raises(LinkError, match=f"^the board refuses the weights: {reason.text}$"):
            driver.load(bytes(wrong))
        assert driver.weights().reason == reason
        with pytest.raises(LinkError, match=r"^the board did not take the weights whole"):
            driver.load(image_of(program)[:LOAD_CHUNK])
        assert (driver.weights().accepted, driver.weights().reason) == (False, 0)
        driver.load(image_of(program))
        assert driver.weights().accepted


def test_chunks_out_of_order() -> None:
    """The last one may come again, the first one begins anew, any other is refused."""
    program, image_of, board = loading_board()
    every = [*chunks(image_of(program))]
    assert len(every) > 2

    def answer(payload: bytes) -> Loaded | int:
        board.write(Frame(Kind.LOAD, 1, payload).encode())
        (frame,) = Decoder(99).feed(board.read(999))
        assert isinstance(frame, Frame)
        return Loaded.unpack(frame.payload) if frame.kind == Kind.LOADED else frame.payload[0]

    assert answer(every[1]) == Refusal.OFFSET
    for number in (0, 1, 1, 0, 0, 1):
        assert answer(every[number]) == Loaded(False, 0, LOAD_CHUNK * (number + 1), 0)
    assert answer(every[-1]) == (Refusal.OFFSET if len(every) > 3 else Loaded(True, 0, 3 * LOAD_CHUNK, crc_of(image_of(program))))
    for payload in every[2:]:
        answer(payload)
    assert answer(every[-1]) == Loaded(True, 0, LOAD_CHUNK * len(every), crc_of(image_of(program)))


def crc_of(image: bytes) -> int:
    return int.from_bytes(image[-4:], "little")


def test_weights_over_a_noisy_line() -> None:
    program, image_of, board = loading_board()
    noisy, rng = Noisy(board, 900, 3), np.random.default_rng(5)
    with Driver(lambda: noisy, timeout=0.02) as driver:
        for weights in (program, other_weights(rng, program), program):
            driver.load(image_of(weights))
            x = random_input(rng, program, 1)
            assert np.array_equal(next(driver.images(weights, x))[None], weights.run(x))
        assert noisy.hits > 5 and driver.damages


def test_a_board_that_reads_its_flash(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, but not for ever."""
    program, image_of, board = loading_board()
    asked: list[int] = []

    def weights(self: Driver) -> Loaded:
        asked.append(1)
        return Loaded(False, 0, 0, 0, busy=len(asked) < 4)

    monkeypatch.setattr(Driver, "weights", weights)
    with Driver(lambda: board) as driver:
        assert not driver.has(image_of(program)) and len(asked) == 5
        asked.clear()
        monkeypatch.setattr("organza.driver.LONGEST", -1.0)
        with pytest.raises(LinkError, match=r"^the board still reads its flash after "):
            driver.load(image_of(program))
