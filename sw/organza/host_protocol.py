"""What frames on a board's serial link mean (`organza.link`): requests of the host and replies of the board.

    HELLO    nothing                                 IDENTITY  see `Identity`, then a status of 4 bytes
    IMAGE    an input                                PIXELS    an output
    LATENTS  state: 4, images: 4                     PIXELS    one for each image, inputs from `organza.latent_stream`
    MEASURE  state: 4, images: 4                     MEASURED  cycles: 8, CRC-32 of all outputs: 4; nothing else is sent
    LOAD     offset: 3, bytes of an image: `LOAD_CHUNK`   LOADED    state: 1, reason: 1, bytes that came: 4, CRC-32: 4
    WEIGHTS  nothing                                 LOADED    the same
    anything else, or damaged                        DAMAGE    reason: 1

A reply has its request's sequence number, damage of a packet that was no frame 0. Numbers begin with their lowest byte. A tensor is
its integers in raster order, row, column, channel, each in `element_bytes` of them. One request at a time: the next one is sent
when the last reply is there.

LOAD and WEIGHTS are for boards whose weights are loaded, on the chip or in the memory beside it (`organza.weight_image`). Chunks come in order, from offset 0, the last one
filled up with anything; the one that came last may come again. LOADED says whether a whole image was accepted (bit 0 of
the state), whether the board is about to load one from its flash (bit 1), why the last one was refused
(`organza.weight_image.Reason`, or 0), and the check sum at the end of the image that was accepted.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, unique

import numpy as np

from organza.checks import check_integer
from organza.formats import Format
from organza.link import Reason
from organza.program import Program
from organza.schedule import ceil_div

MAGIC, VERSION = b"ORGZ", 1
HASH_BYTES, STATUS_BYTES, STATE_BYTES, COUNT_BYTES, CYCLE_BYTES = 32, 4, 4, 4, 8
OFFSET_BYTES, LOAD_CHUNK = 3, 256
RUN_BYTES = STATE_BYTES + COUNT_BYTES  # payload of LATENTS and MEASURE
MEASURED_BYTES = CYCLE_BYTES + 4
_LOADED = struct.Struct("<BBII")
LOADED_BYTES = _LOADED.size
_IDENTITY = struct.Struct(f"<4sB3HB3HBI{HASH_BYTES}s")
IDENTITY_BYTES = _IDENTITY.size


@unique
class Kind(IntEnum):
    """Of a frame."""

    HELLO = 0x01
    IMAGE = 0x02
    LATENTS = 0x03
    MEASURE = 0x04
    LOAD = 0x05
    WEIGHTS = 0x06
    IDENTITY = 0x81
    PIXELS = 0x82
    MEASURED = 0x84
    LOADED = 0x85
    DAMAGE = 0xFF


class Refusal(IntEnum):
    """Why a frame was refused, beside what `organza.link.Reason` says of packets that are none."""

    KIND = 64
    SIZE = 65
    UNLOADED = 66  # no weights have been loaded
    OFFSET = 67  # of a chunk that is not the next
    LOADING = 68  # the board loads weights from its flash


def element_bytes(form: Format) -> int:
    """Bytes of one integer of a tensor."""
    return ceil_div(int(form.bits), 8)


def reason_of(value: int) -> Reason | Refusal:
    """The reason with a number. Raises ValueError if there is none."""
    return Refusal(value) if value in list(Refusal) else Reason(value)


@dataclass(frozen=True)
class Identity:
    """What a board says of itself.

    input_shape, output_shape : channels, height, width. core_hz : its clock. program : SHA-256 of the Program. loads : weights are
    loaded; this is not sent.
    """

    input_shape: tuple[int, int, int]
    input_bytes: int
    output_shape: tuple[int, int, int]
    output_bytes: int
    core_hz: int
    program: bytes
    loads: bool = field(default=False, compare=False)

    @property
    def input_size(self) -> int:
        """Bytes of an input."""
        return math.prod(self.input_shape) * self.input_bytes

    @property
    def output_size(self) -> int:
        """Bytes of an output."""
        return math.prod(self.output_shape) * self.output_bytes

    @property
    def requests(self) -> dict[int, int]:
        """Bytes of the payload of every kind of request."""
        always: dict[int, int] = {Kind.HELLO: 0, Kind.IMAGE: self.input_size, Kind.LATENTS: RUN_BYTES, Kind.MEASURE: RUN_BYTES}
        return always | ({Kind.LOAD: OFFSET_BYTES + LOAD_CHUNK, Kind.WEIGHTS: 0} if self.loads else {})

    @property
    def longest_request(self) -> int:
        """Bytes of the longest payload of a request."""
        return max(self.requests.values())

    @classmethod
    def of(cls, program: Program, program_hash: str, core_hz: int, *, beside: bool = False) -> Identity:
        """Of an accelerator for a Program. beside : it has weights in a memory beside the chip, and so they are loaded."""
        return cls(
            program.input_shape, element_bytes(program.input), program.output_shape, element_bytes(program.output), core_hz,
            bytes.fromhex(program_hash), program.loads or beside,
        )  # fmt: skip

    def pack(self) -> bytes:
        """The first bytes of IDENTITY's payload. Raises ValueError if something is too large for them."""
        try:
            return _IDENTITY.pack(
                MAGIC, VERSION, *self.input_shape, self.input_bytes, *self.output_shape, self.output_bytes, self.core_hz, self.program
            )
        except struct.error as error:
            raise ValueError(f"Identity must fit its fields: {error}") from error

    @classmethod
    def unpack(cls, payload: bytes) -> tuple[Identity, int]:
        """Identity and status. Raises ValueError for anything but IDENTITY's payload."""
        if len(payload) != IDENTITY_BYTES + STATUS_BYTES:
            raise ValueError(f"Identity must have {IDENTITY_BYTES + STATUS_BYTES} bytes, not {len(payload)}")
        magic, version, *rest = _IDENTITY.unpack(payload[:IDENTITY_BYTES])
        if magic != MAGIC:
            raise ValueError(f"Identity must begin with {MAGIC!r}, not {magic!r}")
        if version != VERSION:
            raise ValueError(f"Identity must be of version {VERSION}, not {version}")
        a, b, c, input_bytes, d, e, f, output_bytes, core_hz, program = rest
        status = int.from_bytes(payload[IDENTITY_BYTES:], "little")
        return cls((a, b, c), input_bytes, (d, e, f), output_bytes, core_hz, program), status


@dataclass(frozen=True)
class Loaded:
    """What a board says of its weights.

    accepted : a whole image was. busy : one is about to come from the board's flash. reason : why the last one was refused, `organza.weight_image.Reason` or 0. place : bytes of it that came.
    image : check sum at the end of the image that was accepted.
    """

    accepted: bool
    reason: int
    place: int
    image: int
    busy: bool = False

    def pack(self) -> bytes:
        """Payload of LOADED."""
        return _LOADED.pack(self.accepted + 2 * self.busy, self.reason, self.place, self.image)

    @classmethod
    def unpack(cls, payload: bytes) -> Loaded:
        """Raises ValueError for anything but LOADED's payload."""
        if len(payload) != LOADED_BYTES:
            raise ValueError(f"Loaded must have {LOADED_BYTES} bytes, not {len(payload)}")
        state, *rest = _LOADED.unpack(payload)
        return cls(bool(state & 1), *rest, busy=bool(state & 2))


def chunks(image: bytes) -> Iterator[bytes]:
    """Payloads of the LOAD requests of an image of weights."""
    for place in range(0, len(image), LOAD_CHUNK):
        yield place.to_bytes(OFFSET_BYTES, "little") + image[place : place + LOAD_CHUNK].ljust(LOAD_CHUNK, b"\0")


def run_payload(state: int, images: int) -> bytes:
    """Payload of LATENTS and MEASURE."""
    check_integer("Latents state", state, 1, (1 << 8 * STATE_BYTES) - 1)
    check_integer("Images", images, 1, (1 << 8 * COUNT_BYTES) - 1)
    return state.to_bytes(STATE_BYTES, "little") + images.to_bytes(COUNT_BYTES, "little")


def tensor_bytes(q: np.ndarray, form: Format) -> bytes:
    """Bytes of one tensor (channels, height, width) of integers of a format."""
    if q.ndim != 3:
        raise ValueError(f"Tensor must have three dimensions, not {q.ndim}")
    if not form.holds(q):
        raise ValueError(f"Tensor must have integers of {form}")
    return form.to_wire(q).transpose(1, 2, 0).astype(_type(form)).tobytes()


def tensor_of(octets: bytes, form: Format, shape: tuple[int, int, int]) -> np.ndarray:
    """Inverse of `tensor_bytes`; int64. Raises ValueError for another number of bytes, or what the format does not hold."""
    channels, height, width = shape
    wanted = channels * height * width * element_bytes(form)
    if len(octets) != wanted:
        raise ValueError(f"Tensor must have {wanted} bytes, not {len(octets)}")
    made = form.from_wire(np.frombuffer(octets, _type(form)).reshape(height, width, channels).transpose(2, 0, 1).astype(np.int64))
    if not form.holds(made):
        raise ValueError(f"Tensor must have integers of {form}")
    return made


def _type(form: Format) -> str:
    return f"<{'i' if form.signed else 'u'}{element_bytes(form)}"
