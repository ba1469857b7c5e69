"""The reference behind a serial line: answers a driver byte for byte as a board with the same Program does."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from organza.host_protocol import (
    CYCLE_BYTES,
    LOAD_CHUNK,
    OFFSET_BYTES,
    RUN_BYTES,
    STATE_BYTES,
    STATUS_BYTES,
    Identity,
    Kind,
    Loaded,
    Refusal,
    tensor_bytes,
    tensor_of,
)
from organza.latent_stream import draw_from
from organza.link import Damage, Decoder, Frame
from organza.program import Program
from organza.weight_image import CRC_BYTES, HEADER_BYTES, LENGTH_BYTES, ImageError

RUNS = (Kind.LATENTS, Kind.MEASURE)
INTERVAL = 1  # cycles of an image: the reference has no clock


class SoftwareBoard:
    """A `Port` whose board is `Program.run`. A measurement says that every image took `INTERVAL` cycles.

    status : what it says of damaged layers, see `organza.driver.Driver.hello`. load : of a Program whose weights are loaded, what it
    is with those of an image; raises `ImageError` as the chip refuses one, see `organza_hw.loading.image.read_image`.
    """

    def __init__(
        self, program: Program, program_hash: str, core_hz: int, status: int = 0, load: Callable[[bytes], Program] | None = None
    ):
        self.program, self.identity = program, Identity.of(program, program_hash, core_hz)
        self.status, self._load = status, load
        self._image, self._state = bytearray(), Loaded(not program.loads, 0, 0, 0)
        self._decoder = Decoder(self.identity.longest_request)
        self._replies = bytearray()

    def write(self, data: bytes, /) -> None:
        """Bytes to the board."""
        for one in self._decoder.feed(data):
            for reply in self._answer(one):
                self._replies += reply.encode()

    def read(self, size: int, /) -> bytes:
        """Bytes from the board."""
        made = bytes(self._replies[:size])
        del self._replies[:size]
        return made

    def close(self) -> None:
        """Nothing."""

    def _answer(self, one: Frame | Damage) -> Iterator[Frame]:
        if isinstance(one, Damage):
            yield Frame(Kind.DAMAGE, 0, bytes([one.reason]))
            return
        size = self.identity.requests.get(one.kind)
        state, images = int.from_bytes(one.payload[:STATE_BYTES], "little"), int.from_bytes(one.payload[STATE_BYTES:RUN_BYTES], "little")
        run = one.kind in RUNS
        if size is None:
            yield Frame(Kind.DAMAGE, one.sequence, bytes([Refusal.KIND]))
        elif len(one.payload) != size or (run and not state * images):
            yield Frame(Kind.DAMAGE, one.sequence, bytes([Refusal.SIZE]))
        elif not self._state.accepted and one.kind in (Kind.IMAGE, *RUNS):
            yield Frame(Kind.DAMAGE, one.sequence, bytes([Refusal.UNLOADED]))
        elif one.kind == Kind.LOAD and not self._take(int.from_bytes(one.payload[:OFFSET_BYTES], "little"), one.payload[OFFSET_BYTES:]):
            yield Frame(Kind.DAMAGE, one.sequence, bytes([Refusal.OFFSET]))
        elif one.kind in (Kind.LOAD, Kind.WEIGHTS):
            yield Frame(Kind.LOADED, one.sequence, self._state.pack())
        elif one.kind == Kind.HELLO:
            yield Frame(Kind.IDENTITY, one.sequence, self.identity.pack() + self.status.to_bytes(STATUS_BYTES, "little"))
        elif one.kind == Kind.IMAGE:
            x = tensor_of(one.payload, self.program.input, self.program.input_shape)
            yield from (Frame(Kind.PIXELS, one.sequence, octets) for octets in self._run(x[None]))
        else:
            made = self._run(draw_from(self.program.input, self.program.input_shape, images, state))
            if one.kind == Kind.LATENTS:
                yield from (Frame(Kind.PIXELS, one.sequence, octets) for octets in made)
            else:
                crc = zlib.crc32(b"".join(made)).to_bytes(4, "little")
                yield Frame(Kind.MEASURED, one.sequence, (images * INTERVAL).to_bytes(CYCLE_BYTES, "little") + crc)

    def _take(self, offset: int, octets: bytes) -> bool:
        """A chunk of an image; whether it is the next one, or the last again."""
        if offset == 0:
            self._image.clear()
            self._state = replace(self._state, accepted=False, reason=0)
        elif offset + LOAD_CHUNK == len(self._image):
            return True
        elif offset != len(self._image):
            return False
        self._image += octets
        self._state = replace(self._state, place=len(self._image))
        end = HEADER_BYTES + int.from_bytes(self._image[HEADER_BYTES - LENGTH_BYTES : HEADER_BYTES], "little")
        if not offset or len(self._image) - LOAD_CHUNK < end + CRC_BYTES <= len(self._image):  # there is something to say
            self._judge(end)
        return True

    def _judge(self, end: int) -> None:
        """Say whether the image is accepted; its check sum is at `end`."""
        assert self._load is not None
        if self._state.accepted or self._state.reason:
            return
        try:
            self.program = self._load(bytes(self._image))
            self._state = replace(self._state, accepted=True, image=int.from_bytes(self._image[end : end + CRC_BYTES], "little"))
        except ImageError as error:
            self._state = replace(self._state, reason=int(error.reason) if error.whole else 0)

    def _run(self, x: np.ndarray) -> list[bytes]:
        return [tensor_bytes(y, self.program.output) for y in self.program.run(x)]
