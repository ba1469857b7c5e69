"""The registers of the AXI top (`organza_hw.axi`), said once: gateware, accessor, C header and Markdown come from `REGISTERS`.

    regs = Registers(mmio.read, mmio.write)          # 32-bit accesses at byte offsets, as of a PYNQ MMIO
    regs.expect(program_hash(program))
    regs.read("STATUS")["busy"], regs.long("CYCLES")
    regs.write("CONTROL", reset=1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from organza.checks import check_integer
from organza.errors import UserError
from organza.host_protocol import HASH_BYTES, MAGIC

WORD_BITS, WORD_BYTES = 32, 4
ADDRESS_BITS = 12
VERSION = 1
MOST_LAYERS = WORD_BITS  # a bit of DAMAGED for each
LOADS, MANAGED = "weights that are loaded", "managed exponents at joint k"


class Access(Enum):
    """What a bus may do with a register."""

    RO = "ro"
    RW = "rw"
    W1 = "w1"  # bits that are written as 1 act, others nothing
    WO = "wo"  # bytes that are written go on, one after the other

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Field:
    """Bits of a register, the lowest of which is `low`. signed : two's complement. reset : value after reset, None if it depends on the Program."""

    name: str
    low: int
    bits: int
    text: str
    reset: int | None = 0
    signed: bool = False

    @property
    def mask(self) -> int:
        """Its bits in the register."""
        return ((1 << self.bits) - 1) << self.low

    def of(self, word: int) -> int:
        """Its value in a word."""
        value = (word & self.mask) >> self.low
        return value - (1 << self.bits) if self.signed and value >> (self.bits - 1) else value


@dataclass(frozen=True)
class Register:
    """A register, or `count` of them `stride` bytes apart.

    keeps : register whose value is kept when this one is read, so that both are of the same moment.
    only : what a chip must have for it to be there, empty if it always is.
    """

    name: str
    offset: int
    access: Access
    text: str
    fields: tuple[Field, ...]
    count: int = 1
    stride: int = WORD_BYTES
    keeps: str | None = None
    only: str = ""

    def at(self, index: int = 0) -> int:
        """Byte offset of one of them. Raises TypeError / ValueError for an index that does not exist."""
        return self.offset + self.stride * check_integer(f"Index of {self.name}", index, 0, self.count - 1)

    def field(self, name: str) -> Field:
        """One of its fields. Raises ValueError for another name."""
        for field in self.fields:
            if field.name == name:
                return field
        raise ValueError(f"Field of {self.name} must be one of {', '.join(f.name for f in self.fields)}, not {name!r}")


def _whole(name: str, text: str, reset: int | None = 0) -> tuple[Field, ...]:
    return (Field(name, 0, WORD_BITS, text, reset),)


def _pair(low: str, low_text: str, high: str, high_text: str) -> tuple[Field, ...]:
    return Field(low, 0, 16, low_text, None), Field(high, 16, 16, high_text, None)


REGISTERS = (
    Register("ID", 0x000, Access.RO, "what this is", _whole("id", "the bytes `ORGZ`", int.from_bytes(MAGIC, "little"))),
    Register("VERSION", 0x004, Access.RO, "of this table", _whole("version", "other numbers are other tables", VERSION)),
    Register("INPUT_CHANNELS", 0x010, Access.RO, "input", _pair("channels", "channels", "bytes", "bytes of an integer")),
    Register("INPUT_SIZE", 0x014, Access.RO, "input", _pair("height", "rows", "width", "columns")),
    Register("OUTPUT_CHANNELS", 0x018, Access.RO, "output", _pair("channels", "channels", "bytes", "bytes of an integer")),
    Register("OUTPUT_SIZE", 0x01C, Access.RO, "output", _pair("height", "rows", "width", "columns")),
    Register("PROGRAM", 0x020, Access.RO, "SHA-256 of the Program, its first byte at the lowest address", _whole("hash", "four bytes", None),
             count=HASH_BYTES // WORD_BYTES),
    Register("CONTROL", 0x040, Access.W1, "resets the accelerator", (
        Field("reset", 0, 1, "drops all that is inside and clears all below but `SCRATCH`; reads 1 until that is done"),
        Field("abandon", 1, 1, "with `reset`: the source will not end the input that it has begun; reads 0"),
    )),
    Register("STATUS", 0x044, Access.RO, "what goes on", (
        Field("busy", 0, 1, "an input is inside whose output has not left"),
        Field("receiving", 1, 1, "an input has begun and not ended"),
        Field("sending", 2, 1, "an output has begun and not ended"),
        Field("damaged", 3, 1, "stored weights are damaged, see `DAMAGED`: no output will come"),
        Field("event", 4, 1, "there are `EVENTS`"),
        Field("loads", 5, 1, "weights are loaded at run time", None),
        Field("unloaded", 6, 1, "there are no weights: nothing is taken", None),
    )),
    Register("EVENTS", 0x048, Access.W1, "inputs that were refused; bits stay until they are written as 1", (
        Field("short", 0, 1, "TLAST came before the last byte, or TKEEP left out a byte"),
        Field("long", 1, 1, "the last byte came without TLAST, or TKEEP kept one behind it"),
    )),
    Register("DAMAGED", 0x04C, Access.RO, "stored weights", _whole("layers", "bit k: those of layer k are damaged")),
    Register("CYCLES_LOW", 0x050, Access.RO, "cycles with `busy`", _whole("cycles", "bits 31 … 0"), keeps="CYCLES_HIGH"),
    Register("CYCLES_HIGH", 0x054, Access.RO, "kept when `CYCLES_LOW` was read", _whole("cycles", "bits 63 … 32")),
    Register("FRAMES_IN", 0x058, Access.RO, "inputs", _whole("frames", "inputs that were taken, modulo 2^32")),
    Register("FRAMES_OUT", 0x05C, Access.RO, "outputs", _whole("frames", "outputs that have left, modulo 2^32")),
    Register("FRAMES_REFUSED", 0x060, Access.RO, "inputs", _whole("frames", "inputs that were refused, modulo 2^32")),
    Register("SCRATCH", 0x064, Access.RW, "to try the bus", _whole("value", "means nothing")),
    Register("LOAD", 0x068, Access.WO, "further bytes of an image of weights", _whole("bytes", "those with strobes, the lowest first"), only=LOADS),
    Register("LOAD_FIRST", 0x06C, Access.WO, "as `LOAD`, of a new image", _whole("bytes", "the first begins it"), only=LOADS),
    Register("LOADING", 0x070, Access.RO, "what became of it", (
        Field("loaded", 0, 1, "a whole image is there"),
        Field("refusal", 8, 8, "why the last image was refused, 0 if it was not"),
    ), only=LOADS),
    Register("IMAGE", 0x074, Access.RO, "the weights that are there", _whole("crc", "check sum of their image"), only=LOADS),
    Register("EXPONENT", 0x100, Access.RO, "the latest complete image at joint k", (
        Field("peak", 0, 16, "largest \\|mantissa\\|"), Field("exponent", 16, 16, "its exponent", signed=True),
    ), count=MOST_LAYERS + 1, stride=8, keeps="OVERFLOW", only=MANAGED),
    Register("OVERFLOW", 0x104, Access.RO, "kept when `EXPONENT` of the same joint was read", (
        Field("overflows", 0, 16, "images with an overflow, modulo 2^16"), Field("overflow", 16, 1, "a value of the image was clamped"),
    ), count=MOST_LAYERS + 1, stride=8, only=MANAGED),
)  # fmt: skip


def register(name: str) -> Register:
    """The register with a name. Raises ValueError for another name."""
    for one in REGISTERS:
        if one.name == name:
            return one
    raise ValueError(f"Register must be one of {', '.join(r.name for r in REGISTERS)}, not {name!r}")


def places() -> Iterator[tuple[Register, int, int]]:
    """Every register with its index and its byte offset."""
    for one in REGISTERS:
        for index in range(one.count):
            yield one, index, one.at(index)


class Registers:
    """The registers of a chip behind a bus.

    read : gives the word at a byte offset. write : writes one there.
    """

    def __init__(self, read: Callable[[int], int], write: Callable[[int, int], object]):
        self._read, self._write = read, write

    def read(self, name: str, index: int = 0) -> dict[str, int]:
        """Fields of a register. Raises ValueError for a name or an index that does not exist."""
        one = register(name)
        word = self._read(one.at(index))
        return {field.name: field.of(word) for field in one.fields}

    def long(self, name: str) -> int:
        """The 64 bits of `name`_LOW and `name`_HIGH, of one moment."""
        low = self._read(register(f"{name}_LOW").at())
        return self._read(register(f"{name}_HIGH").at()) << WORD_BITS | low

    def write(self, name: str, **fields: int) -> None:
        """Write fields of a register, and 0 to its others. Raises ValueError for fields that do not exist, or a register that is only read."""
        one, word = register(name), 0
        if one.access is Access.RO:
            raise ValueError(f"Register {name} must not be written: it is read only")
        for key, value in fields.items():
            field = one.field(key)
            word |= check_integer(f"{name}.{key}", value, 0, (1 << field.bits) - 1) << field.low
        self._write(one.at(), word)

    def load(self, image: bytes) -> None:
        """Load an image of weights; what is inside is dropped. Raises `UserError` if the chip loads none, or refuses it."""
        if not self.read("STATUS")["loads"]:
            raise UserError("the chip has its weights in its bitstream; build it with weights that are loaded")
        for start in range(0, len(image), WORD_BYTES):
            # What is behind an image does not matter.
            word = int.from_bytes(image[start : start + WORD_BYTES].ljust(WORD_BYTES, b"\0"), "little")
            self.write("LOAD" if start else "LOAD_FIRST", bytes=word)
        found = self.read("LOADING")
        if not found["loaded"]:
            why = f"reason {found['refusal']}" if found["refusal"] else "the image is not complete"
            raise UserError(f"the chip refuses these weights: {why}")

    def program(self) -> str:
        """SHA-256 of the Program, as `organza.program_file.program_hash` gives it."""
        words = [self._read(register("PROGRAM").at(k)) for k in range(register("PROGRAM").count)]
        return b"".join(word.to_bytes(WORD_BYTES, "little") for word in words).hex()

    def expect(self, program_hash: str) -> None:
        """Make sure that the chip runs this Program and that its weights are whole. Raises `UserError` saying what differs."""
        found = self.read("ID")["id"], self.read("VERSION")["version"]
        if found[0] != register("ID").fields[0].reset:
            raise UserError(f"no Organza chip is at this address: it says {found[0]:#010x}")
        if found[1] != VERSION:
            raise UserError(f"the chip's registers are of version {found[1]}, not {VERSION}")
        program = self.program()
        if program != program_hash:
            raise UserError(f"the chip runs another Program ({program[:12]}…, not {program_hash[:12]}…); load its bitstream")
        damaged = self.read("DAMAGED")["layers"]
        if damaged:
            layers = ", ".join(str(k) for k in range(MOST_LAYERS) if damaged >> k & 1)
            raise UserError(f"stored weights of layer {layers} are damaged on the chip; load its bitstream again")
