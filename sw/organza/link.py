"""Frames on the serial link between a host and a board, as both ends must have them.

On the wire a packet is what is between two END bytes; inside of it END and ESC are sent as two bytes (SLIP, RFC 1055).
A frame is a packet of

    kind: 1 byte, sequence: 1, payload length: 3, payload, CRC-32 of all before: 4

with the lowest byte of a number first. The CRC is zlib's. Nothing here says what kinds there are.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from enum import IntEnum, unique

from organza.checks import check_integer

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD
LENGTH_BYTES, CRC_BYTES = 3, 4
HEADER_BYTES = 2 + LENGTH_BYTES  # kind, sequence, length
MOST = (1 << 8 * LENGTH_BYTES) - 1  # bytes of the longest payload

_STUFFED = {bytes([END]): bytes([ESC, ESC_END]), bytes([ESC]): bytes([ESC, ESC_ESC])}
_WRONG_ESCAPE = re.compile(rb"\xdb(?![\xdc\xdd])")


@unique
class Reason(IntEnum):
    """Why a packet was no frame: the first that was found.

    CRC : the check sum is wrong. LENGTH : too few or too many bytes. ESCAPE : what followed an ESC does not.
    TOO_LONG : it has more payload than the receiver takes. LINE : a byte had no stop bit; only gateware can see that.
    BUSY : the receiver still kept a frame when the packet began; only gateware has no room for two.
    """

    CRC = 1
    LENGTH = 2
    ESCAPE = 3
    TOO_LONG = 4
    LINE = 5
    BUSY = 6


@dataclass(frozen=True)
class Frame:
    """One frame. kind, sequence : 0 to 255. payload : at most `MOST` bytes."""

    kind: int
    sequence: int
    payload: bytes = b""

    def __post_init__(self) -> None:
        check_integer("Frame kind", self.kind, 0, 255)
        check_integer("Frame sequence", self.sequence, 0, 255)
        if not isinstance(self.payload, bytes):
            raise TypeError(f"Frame payload must be bytes, not {type(self.payload).__name__}")
        if len(self.payload) > MOST:
            raise ValueError(f"Frame payload must be at most {MOST} bytes, not {len(self.payload)}")

    def encode(self) -> bytes:
        """All bytes on the wire, both ENDs too."""
        content = bytes([self.kind, self.sequence]) + len(self.payload).to_bytes(LENGTH_BYTES, "little") + self.payload
        return bytes([END]) + _stuff(content + zlib.crc32(content).to_bytes(CRC_BYTES, "little")) + bytes([END])


@dataclass(frozen=True)
class Damage:
    """A packet that was no frame."""

    reason: Reason


class Decoder:
    """Frames out of the bytes that come, in pieces of any size.

    A packet without bytes is nothing (RFC 1055), any other gives one `Frame` or one `Damage` when its END comes. No
    bytes raise. It keeps about twice `most` bytes at most.

    Parameters
    ----------
    most : bytes of the longest payload that is taken.
    """

    def __init__(self, most: int) -> None:
        check_integer("Decoder most", most, 0, MOST)
        self.most = most
        self._packet = bytearray()
        # Bytes of any packet that can be a frame, stuffed; of what is longer, these bytes alone tell what is wrong.
        self._room = 2 * (HEADER_BYTES + most + CRC_BYTES + 1)

    def feed(self, octets: bytes) -> list[Frame | Damage]:
        """What ends within these bytes, in the order in which it came."""
        made: list[Frame | Damage] = []
        *ended, begun = bytes(octets).split(bytes([END]))
        for part in ended:
            self._keep(part)
            if self._packet:
                made.append(_judge(bytes(self._packet), self.most))
            self._packet.clear()
        self._keep(begun)
        return made

    def _keep(self, part: bytes) -> None:
        self._packet += part[: self._room - len(self._packet)]


def _stuff(content: bytes) -> bytes:
    for raw in (ESC, END):  # an ESC that END brings in must stay
        content = content.replace(bytes([raw]), _STUFFED[bytes([raw])])
    return content


def _judge(packet: bytes, most: int) -> Frame | Damage:
    """The frame that a packet of stuffed bytes is, or what is found first in reading it from its beginning."""
    wrong = _WRONG_ESCAPE.search(packet)
    content = packet[: wrong.start()] if wrong else packet
    for raw in (END, ESC):  # the other way round, an ESC_END behind a stuffed ESC would be taken for an END
        content = content.replace(_STUFFED[bytes([raw])], bytes([raw]))
    length = int.from_bytes(content[2:HEADER_BYTES], "little")
    whole = HEADER_BYTES + length + CRC_BYTES
    if len(content) >= HEADER_BYTES:
        if length > most:
            return Damage(Reason.TOO_LONG)
        if len(content) > whole:
            return Damage(Reason.LENGTH)
    if wrong:
        return Damage(Reason.ESCAPE)
    if len(content) < whole:
        return Damage(Reason.LENGTH)
    body, crc = content[:-CRC_BYTES], content[-CRC_BYTES:]
    if zlib.crc32(body) != int.from_bytes(crc, "little"):
        return Damage(Reason.CRC)
    return Frame(body[0], body[1], body[HEADER_BYTES:])
