"""The reference behind a serial line: answers a driver byte for byte as a board with the same Program does."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from organza.host_protocol import (
    CYCLE_BYTES,
    RUN_BYTES,
    STATE_BYTES,
    STATUS_BYTES,
    Identity,
    Kind,
    Refusal,
    tensor_bytes,
    tensor_of,
)
from organza.latent_stream import draw_from
from organza.link import Damage, Decoder, Frame
from organza.program import Program

INTERVAL = 1  # cycles of an image: the reference has no clock


class SoftwareBoard:
    """A `Port` whose board is `Program.run`. A measurement says that every image took `INTERVAL` cycles.

    status : what it says of damaged layers, see `organza.driver.Driver.hello`.
    """

    def __init__(self, program: Program, program_hash: str, core_hz: int, status: int = 0):
        self.program, self.identity = program, Identity.of(program, program_hash, core_hz)
        self.status = status
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
        run = one.kind in (Kind.LATENTS, Kind.MEASURE)
        if size is None:
            yield Frame(Kind.DAMAGE, one.sequence, bytes([Refusal.KIND]))
        elif len(one.payload) != size or (run and not state * images):
            yield Frame(Kind.DAMAGE, one.sequence, bytes([Refusal.SIZE]))
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

    def _run(self, x: np.ndarray) -> list[bytes]:
        return [tensor_bytes(y, self.program.output) for y in self.program.run(x)]
