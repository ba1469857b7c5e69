"""Drives a board over its serial line: asks, checks, asks again, and says what is wrong.

    with Driver(serial_port("/dev/ttyUSB0", 3_000_000)) as driver:
        driver.expect(program, program_hash(program))
        images = driver.images(program.quantize(latents))
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from organza.errors import UserError
from organza.formats import Format
from organza.host_protocol import (
    CYCLE_BYTES,
    MEASURED_BYTES,
    Identity,
    Kind,
    Loaded,
    Refusal,
    chunks,
    reason_of,
    run_payload,
    tensor_bytes,
    tensor_of,
)
from organza.latent_stream import state_of, step
from organza.link import END, Damage, Decoder, Frame
from organza.program import Program
from organza.weight_image import CRC_BYTES
from organza.weight_image import Reason as WeightReason

SHORT = 1 << 12  # bytes of the longest reply but an image
TRIES = 5  # of a request, each answered by damage or by nothing
BATCH = 16  # images that are asked for at once
CHUNK = 4096  # bytes read at most at a time
TIMEOUT, RETURN = 5.0, 30.0  # seconds without a byte until a request is made again; until a port that went away is given up
LONGEST = 60.0  # seconds for which a board may compute without a word


class Port(Protocol):
    """A serial line. `read` gives what has come, at most so many bytes, and nothing after a while without any; both raise OSError."""

    def read(self, size: int, /) -> bytes: ...
    def write(self, data: bytes, /) -> Any: ...
    def close(self) -> None: ...


def serial_port(name: str, baud: int) -> Callable[[], Port]:
    """Opens a port of this machine, again and again. Raises `UserError` naming it and those that there are."""
    import serial
    from serial.tools import list_ports

    class Line:
        """`read` returns as soon as there is something."""

        def __init__(self) -> None:
            self._line = serial.Serial(name, baud, timeout=0.05, write_timeout=TIMEOUT, exclusive=True)

        def read(self, size: int, /) -> bytes:
            return self._line.read(min(size, max(1, self._line.in_waiting)))

        def write(self, data: bytes, /) -> None:
            self._line.write(data)

        def close(self) -> None:
            self._line.close()

    def opened() -> Port:
        try:
            return Line()
        except (OSError, ValueError) as error:
            ports = ", ".join(port.device for port in list_ports.comports()) or "none"
            raise PortError(f"{name}: cannot be opened ({error}); ports are: {ports}") from error

    return opened


class PortError(UserError, OSError):
    """A port that cannot be opened."""


class LinkError(UserError):
    """The board does not answer, answers nonsense, or is another one."""


class Driver:
    """A board behind a port that `opened` opens.

    A request that is answered by damage, or by nothing for `timeout` seconds, is made again, up to `TRIES` times: all requests give the
    same whenever they are made. If the port goes away, it is opened again for `patience` seconds, and the board must be the same.
    """

    def __init__(self, opened: Callable[[], Port], *, timeout: float = TIMEOUT, patience: float = RETURN):
        self._opened, self._timeout, self._patience = opened, timeout, patience
        self._port: Port | None = opened()
        self._sequence, self._identity, self._most = 0, None, SHORT
        self.damages: list[str] = []  # what went wrong and was mended

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def hello(self) -> tuple[Identity, int]:
        """Identity of the board, and its status: a bit for every layer whose stored weights are damaged. Raises `LinkError`."""
        (reply,) = self._ask(Kind.HELLO, b"", Kind.IDENTITY)
        try:
            identity, status = Identity.unpack(reply)
        except ValueError as error:
            raise LinkError(f"the board does not speak Organza's protocol: {error}") from error
        self._most = max(SHORT, identity.output_size)
        return identity, status

    def expect(self, program: Program, program_hash: str) -> Identity:
        """Make sure that the board runs this Program and that its weights are whole. Raises `LinkError` saying what differs."""
        identity, status = self.hello()
        if identity.program.hex() != program_hash:
            raise LinkError(f"the board runs another Program ({identity.program.hex()[:12]}…, not {program_hash[:12]}…); load its bitstream")
        self._check_status(program, status)
        self._identity = identity
        return identity

    def load(self, image: bytes, say: Callable[[float], None] = lambda done: None) -> None:
        """Load an image of weights, see `organza_hw.loading.image.weight_image`. Raises `LinkError` with the reason if it is refused.

        say : is called with the fraction that has been sent.
        """
        self._wait()
        loaded = None
        for payload in chunks(image):
            (reply,) = self._ask(Kind.LOAD, payload, Kind.LOADED)
            loaded = self._loaded(reply)
            say(min(loaded.place / len(image), 1.0))
            if loaded.reason:
                raise LinkError(f"the board refuses the weights: {reason_text(loaded.reason)}")
        if loaded is None or not loaded.accepted or loaded.image != int.from_bytes(image[-CRC_BYTES:], "little"):
            raise LinkError("the board did not take the weights whole; are they all there?")

    def has(self, image: bytes) -> bool:
        """Whether the board has loaded this image, if need be after it has read its flash."""
        self._wait()
        loaded = self.weights()
        return loaded.accepted and loaded.image == int.from_bytes(image[-CRC_BYTES:], "little")

    def _wait(self) -> None:
        """Until the board does not read its flash."""
        begun = time.monotonic()
        while self.weights().busy:
            if time.monotonic() - begun > LONGEST:
                raise LinkError(f"the board still reads its flash after {LONGEST:g} s; load its bitstream again")
            time.sleep(0.01)

    def weights(self) -> Loaded:
        """What a board says of the weights that it has loaded."""
        (reply,) = self._ask(Kind.WEIGHTS, b"", Kind.LOADED)
        return self._loaded(reply)

    @staticmethod
    def _loaded(reply: bytes) -> Loaded:
        try:
            return Loaded.unpack(reply)
        except ValueError as error:
            raise LinkError(f"the board does not speak Organza's protocol: {error}") from error

    def images(self, program: Program, q: np.ndarray) -> Iterator[np.ndarray]:
        """Output integers (channels, height, width) of every input (N, channels, height, width), one after the other."""
        for one in q:
            (reply,) = self._ask(Kind.IMAGE, tensor_bytes(one, program.input), Kind.PIXELS)
            yield self._tensor(reply, program.output, program.output_shape)

    def latents(self, program: Program, images: int, seed: int) -> Iterator[np.ndarray]:
        """The same for inputs that the board draws from a seed, see `organza.latent_stream.draw`."""
        state, left = state_of(seed), images
        size = math.prod(program.input_shape)
        while left:
            batch = min(left, BATCH)
            made = 0
            for reply in self._ask(Kind.LATENTS, run_payload(state, batch), Kind.PIXELS, batch, partly=True):
                yield self._tensor(reply, program.output, program.output_shape)
                made += 1
            for _ in range(made * size):
                state = step(state)
            left -= made

    def measure(self, images: int, seed: int) -> tuple[int, int]:
        """Cycles from the first input to the last output of so many images, and the CRC-32 of all outputs; nothing else is sent."""
        (reply,) = self._ask(Kind.MEASURE, run_payload(state_of(seed), images), Kind.MEASURED, longest=LONGEST)
        if len(reply) != MEASURED_BYTES:
            raise LinkError(f"the board's measurement must have {MEASURED_BYTES} bytes, not {len(reply)}")
        return int.from_bytes(reply[:CYCLE_BYTES], "little"), int.from_bytes(reply[CYCLE_BYTES:], "little")

    def _check_status(self, program: Program, status: int) -> None:
        damaged = [node.name for k, node in enumerate(program.nodes) if status >> k & 1]
        if damaged:
            raise LinkError(f"stored weights of layer {', '.join(damaged)} are damaged on the board; load its bitstream again")

    def _tensor(self, reply: bytes, form: Format, shape: tuple[int, int, int]) -> np.ndarray:
        try:
            return tensor_of(reply, form, shape)
        except ValueError as error:
            raise LinkError(f"the board's image is none of this Program: {error}") from error

    def _ask(
        self, kind: Kind, payload: bytes, answer: Kind, replies: int = 1, *, partly: bool = False, longest: float | None = None
    ) -> list[bytes]:
        """Payloads of the replies to a request; with `partly` fewer than all, but one at least, if something goes wrong."""
        for attempt in range(TRIES):
            self._sequence = self._sequence % 255 + 1  # 0 is that of damage which answers no frame
            request = Frame(kind, self._sequence, payload)
            found: list[bytes] = []
            try:
                self._port_now().write(request.encode())
                why = self._collect(found, answer, replies, longest or self._timeout)
            except OSError as error:
                why = f"the port went away ({error})"
                self._return()
            if why is None or (partly and found):
                if why is not None:
                    self.damages.append(why)
                    self._settle()
                return found
            self.damages.append(why)
            if attempt + 1 < TRIES:
                self._settle()
        raise LinkError(f"no answer to {kind.name} after {TRIES} tries: {self.damages[-1]}; check power, bitstream and baud")

    def _port_now(self) -> Port:
        if self._port is None:
            raise ValueError("Driver must not be closed")
        return self._port

    def _collect(self, found: list[bytes], answer: Kind, replies: int, longest: float) -> str | None:
        """Put the replies into `found`; what went wrong, if something did."""
        decoder, last, port = Decoder(self._most), time.monotonic(), self._port_now()
        while len(found) < replies:
            octets = port.read(CHUNK)
            if octets:
                last = time.monotonic()
            elif time.monotonic() - last > longest:
                return f"nothing came for {longest:g} s"
            for one in decoder.feed(octets):
                if isinstance(one, Damage):
                    return f"damage on the way back ({one.reason.name})"
                if one.kind == Kind.DAMAGE and one.sequence == self._sequence and one.payload == bytes([Refusal.UNLOADED]):
                    raise LinkError("the board has no weights; load some, as organza run does")
                if one.kind == Kind.DAMAGE and one.sequence in (0, self._sequence):
                    return f"the board refused it ({_reason(one.payload)})"
                if one.sequence == self._sequence and one.kind == answer:
                    found.append(one.payload)
        return None

    def _settle(self) -> None:
        """End what the board may still wait for, and let what is on its way pass."""
        port = self._port_now()
        try:
            port.write(bytes([END]))
            quiet, deadline = time.monotonic(), time.monotonic() + self._timeout
            while time.monotonic() < min(deadline, quiet + 0.1):
                if port.read(CHUNK):
                    quiet = time.monotonic()
        except OSError:
            self._return()

    def _return(self) -> None:
        """Open the port again when it is back, and make sure that the board is the same."""
        if self._port is not None:
            self._port.close()
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._port = self._opened()
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise LinkError(f"the port did not come back within {self._patience:g} s: {error}") from error
                time.sleep(0.1)
        if self._identity is not None:
            known, self._identity = self._identity, None
            found, _ = self.hello()
            if found != known:
                raise LinkError("another board, or another bitstream, came back at the port")
            self._identity = known


def reason_text(number: int) -> str:
    """What the number of a `organza.weight_image.Reason` means."""
    return WeightReason(number).text if number in list(WeightReason) else f"reason {number}"


def _reason(payload: bytes) -> str:
    try:
        return reason_of(payload[0]).name
    except (IndexError, ValueError):
        return "no reason that is known"
