"""What all replies of a kind begin with, in one memory."""

from amaranth.lib import enum

from organza.host_protocol import IDENTITY_BYTES, LOADED_BYTES, MEASURED_BYTES, STATUS_BYTES, Identity, Kind
from organza.link import HEADER_BYTES, LENGTH_BYTES


class Reply(enum.IntEnum, shape=3):
    """Of which kind a reply is: the number of its text's first block."""

    PIXELS = 0
    MEASURED = 1
    LOADED = 2
    DAMAGE = 3
    IDENTITY = 4  # what has more than one block is the last


BLOCK = 8  # bytes; of one reply only, the header and for IDENTITY what never changes
TEXT_BYTES = {reply: HEADER_BYTES + IDENTITY_BYTES * (reply == Reply.IDENTITY) for reply in Reply}


def reply_text(identity: Identity) -> bytes:
    """Blocks of all replies. A header's sequence number is 0."""
    sizes = {
        Kind.PIXELS: identity.output_size, Kind.MEASURED: MEASURED_BYTES, Kind.LOADED: LOADED_BYTES, Kind.DAMAGE: 1,
        Kind.IDENTITY: IDENTITY_BYTES + STATUS_BYTES,
    }  # fmt: skip
    heads = (bytes([kind, 0]) + size.to_bytes(LENGTH_BYTES, "little") for kind, size in sizes.items())
    return b"".join(head.ljust(BLOCK, b"\0") for head in heads)[: BLOCK * Reply.IDENTITY + HEADER_BYTES] + identity.pack()
