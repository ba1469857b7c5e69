"""Images of weights that are loaded at run time: what is around the words of a chip's memories.

    magic          4    "ORGW"
    version        1    1
    shape          8    what the chip was built for, see `organza.loadable.shape_hash`
    length         4    bytes of the payload
    payload             memory after memory, word after word, each in whole bytes
    check sum      4    CRC-32 of everything before

Numbers begin with their lowest byte.
"""

from __future__ import annotations

import zlib
from enum import IntEnum, unique

MAGIC, VERSION = b"ORGW", 1
SHAPE_BYTES, LENGTH_BYTES, CRC_BYTES = 8, 4, 4
HEADER_BYTES = len(MAGIC) + 1 + SHAPE_BYTES + LENGTH_BYTES


@unique
class Reason(IntEnum):
    """Why an image was refused."""

    MAGIC = 1
    VERSION = 2
    SHAPE = 3
    LENGTH = 4
    CRC = 5

    @property
    def text(self) -> str:
        """For people."""
        return _TEXTS[self]


_TEXTS = {
    Reason.MAGIC: "it is no image of weights",
    Reason.VERSION: f"it is not of version {VERSION}",
    Reason.SHAPE: "it is for a chip of another shape, code or plan",
    Reason.LENGTH: "it has another length than the memories of the chip",
    Reason.CRC: "its check sum is wrong",
}
# Bytes of the header that the same reason refuses.
PARTS = ((Reason.MAGIC, len(MAGIC)), (Reason.VERSION, 1), (Reason.SHAPE, SHAPE_BYTES), (Reason.LENGTH, LENGTH_BYTES))


class ImageError(ValueError):
    """An image that is refused, for this `reason`. whole : it was not too short to be looked at."""

    def __init__(self, reason: Reason, *, whole: bool = True):
        super().__init__(f"Weights are refused: {reason.text if whole else 'the image is not complete'}")
        self.reason, self.whole = reason, whole


def header(shape: bytes, length: int) -> bytes:
    """What every image of a chip begins with."""
    return MAGIC + bytes([VERSION]) + shape + length.to_bytes(LENGTH_BYTES, "little")


def wrapped(shape: bytes, payload: bytes) -> bytes:
    """The image with this payload."""
    image = header(shape, len(payload)) + payload
    return image + zlib.crc32(image).to_bytes(CRC_BYTES, "little")


def unwrapped(image: bytes, shape: bytes, length: int) -> bytes:
    """The payload of an image for a chip. Bytes behind the image do not matter.

    Raises `ImageError` with the reason that the chip would give.
    """
    good, place = header(shape, length), 0
    for reason, size in PARTS:
        if image[place : place + size] != good[place : place + size]:
            raise ImageError(reason)
        place += size
    end = place + length
    if len(image) < end + CRC_BYTES:
        raise ImageError(Reason.CRC, whole=False)
    if image[end : end + CRC_BYTES] != zlib.crc32(image[:end]).to_bytes(CRC_BYTES, "little"):
        raise ImageError(Reason.CRC)
    return image[place:end]


def image_bytes(length: int) -> int:
    """Bytes of an image with so many bytes of payload."""
    return HEADER_BYTES + length + CRC_BYTES
