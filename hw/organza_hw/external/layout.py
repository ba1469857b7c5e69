"""Where the lane words of all engines lie in a memory beside the chip, and the image that fills it."""

import hashlib
from dataclasses import dataclass

from organza.board import Memory
from organza.plan import Plan, Work
from organza.program import Program
from organza.schedule import ceil_div
from organza.weight_image import SHAPE_BYTES, wrapped
from organza_hw.external.memory import external_works
from organza_hw.external.supply import external_words
from organza_hw.loading.image import weight_image


@dataclass(frozen=True)
class Region:
    """Words of one engine. number : of the engine. first : address. parts : words of the memory that a lane word takes, its lowest bits first."""

    number: int
    work: Work
    first: int
    parts: int

    @property
    def size(self) -> int:
        """Words of the memory that an image takes."""
        return self.parts * self.work.words

    @property
    def last(self) -> int:
        """Address of the last one."""
        return self.first + self.size - 1


def regions(program: Program, plan: Plan, width: int) -> list[Region]:
    """Of every engine whose lane words come from outside, one behind the other from address 0 on. width : of the memory."""
    made: list[Region] = []
    for number, work in external_works(program, plan).items():
        made.append(Region(number, work, made[-1].last + 1 if made else 0, ceil_div(work.word_bits, width)))
    return made


def stored_bytes(program: Program, plan: Plan, width: int) -> int:
    """Of all regions: so many are read for an image of the generator too."""
    return sum(region.size for region in regions(program, plan, width)) * width // 8


def contents(program: Program, plan: Plan, width: int) -> bytes:
    """All regions, the lowest byte of a word first."""
    return b"".join(
        word.to_bytes(region.parts * width // 8, "little")
        for region in regions(program, plan, width)
        for word in external_words(region.work)
    )


def content_hash(held: bytes) -> bytes:
    """What an image says that it is for: a chip that wants exactly these words, since the rest of their layers is in its bitstream."""
    return hashlib.sha256(held).digest()[:SHAPE_BYTES]


def sent_image(program: Program, plan: Plan, memory: Memory | None, weights: Program | None = None) -> bytes:
    """The image that a host sends to a board with such a chip; empty if none is.

    Weights that are loaded (`organza_hw.loading.image.weight_image`, also for `weights`), or what the board's memory is to hold.
    """
    if program.loads:
        return weight_image(program, plan, weights)
    if memory is None or not external_works(program, plan):
        return b""
    held = contents(program, plan, memory.width)
    return wrapped(content_hash(held), held)
