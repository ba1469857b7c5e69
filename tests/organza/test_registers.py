"""One table of registers: what is written down is what it gives, and a compiler reads the header as Python reads the table."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from organza.errors import UserError
from organza.register_texts import HEADER, MARKDOWN, c_header, markdown
from organza.registers import ADDRESS_BITS, REGISTERS, VERSION, WORD_BITS, WORD_BYTES, Registers, places, register

DOCS = Path(__file__).parents[2] / "docs"
DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("name, text", [(HEADER, c_header), (MARKDOWN, markdown)])
def test_what_is_in_docs(name: str, text) -> None:
    assert (DOCS / name).read_text() == text(), f"write organza.register_texts.{text.__name__}() into docs/{name}"


def test_places_and_fields() -> None:
    offsets = [offset for _, _, offset in places()]
    assert len({*offsets}) == len(offsets) and all(0 <= at < 1 << ADDRESS_BITS and at % WORD_BYTES == 0 for at in offsets)
    assert len({one.name for one in REGISTERS}) == len(REGISTERS)
    for one in REGISTERS:
        taken = 0
        for field in one.fields:
            assert 0 <= field.low and field.low + field.bits <= WORD_BITS and not taken & field.mask
            taken |= field.mask
        if one.keeps:
            kept = register(one.keeps)
            assert (kept.offset, kept.count, kept.stride) == (one.offset + WORD_BYTES, one.count, one.stride)


def header_numbers(folder: Path) -> dict[str, int]:
    """Every constant of the header, as a C compiler has it."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    assert compiler is not None
    (folder / HEADER).write_text(c_header())
    names = []
    for name, arguments in re.findall(r"^#define (ORGANZA_\w+)(\(k\))? ", c_header(), re.MULTILINE):
        counted = register(name.removeprefix("ORGANZA_")).count if arguments else 0
        names += [f"{name}({k})" for k in range(counted)] if arguments else [name]
    lines = "\n".join(f'    printf("%s %llu\\n", "{name}", (unsigned long long) {name});' for name in names)
    source = f'#include <stdio.h>\n#include "{HEADER}"\n#include "{HEADER}"\nint main(void) {{\n{lines}\n    return 0;\n}}\n'
    (folder / "print.c").write_text(source)
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-o", "print", "print.c"], cwd=folder, check=True)
    said = subprocess.run(["./print"], cwd=folder, check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in said.splitlines())}


def test_header_as_compiled(tmp_path: Path) -> None:
    numbers = header_numbers(tmp_path)
    wanted = {"ORGANZA_ADDRESS_BITS": ADDRESS_BITS, "ORGANZA_REGISTERS_VERSION": VERSION}
    for one, index, offset in places():
        name = f"ORGANZA_{one.name}"
        wanted[f"{name}({index})" if one.count > 1 else name] = offset
        if one.count > 1:
            wanted[f"{name}_COUNT"] = one.count
        for field in one.fields:
            if field.bits < WORD_BITS:
                wanted |= {f"{name}_{field.name.upper()}_LOW": field.low, f"{name}_{field.name.upper()}_MASK": field.mask}
            elif field.reset:
                wanted[f"{name}_RESET"] = field.reset
    assert numbers == wanted


def test_snippet_compiles(tmp_path: Path) -> None:
    """The C of docs/axi.md."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    assert compiler is not None
    (snippet,) = re.findall(r"```c\n(.*?)```", (DOCS / "axi.md").read_text(), re.DOTALL)
    (tmp_path / HEADER).write_text(c_header())
    (tmp_path / "snippet.c").write_text(snippet)
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-c", "snippet.c"], cwd=tmp_path, check=True)


class Chip:
    """Words at offsets."""

    def __init__(self) -> None:
        self.words = {offset: 0 for _, _, offset in places()}
        self.words |= {one.offset: one.fields[0].reset for one in REGISTERS if one.fields[0].reset}
        octets = bytes.fromhex(DIGEST)
        for k in range(8):
            self.words[register("PROGRAM").at(k)] = int.from_bytes(octets[4 * k : 4 * k + 4], "little")
        self.written: list[tuple[int, int]] = []

    def registers(self) -> Registers:
        return Registers(self.words.__getitem__, lambda offset, word: self.written.append((offset, word)))


def test_accessor() -> None:
    chip = Chip()
    registers = chip.registers()
    registers.expect(DIGEST)
    chip.words |= {register("CYCLES_LOW").at(): 7, register("CYCLES_HIGH").at(): 2, register("STATUS").at(): 0b1001,
                   register("EXPONENT").at(3): 0xFFF0_8000, register("OVERFLOW").at(3): 0x1_0005}  # fmt: skip
    assert registers.long("CYCLES") == 2 << 32 | 7
    assert registers.read("STATUS") == {"busy": 1, "receiving": 0, "sending": 0, "damaged": 1, "event": 0, "loads": 0, "unloaded": 0}
    assert registers.read("EXPONENT", 3) == {"peak": 32768, "exponent": -16}
    assert registers.read("OVERFLOW", 3) == {"overflows": 5, "overflow": 1}
    registers.write("CONTROL", reset=1, abandon=1)
    registers.write("SCRATCH", value=0xFFFF_FFFF)
    assert chip.written == [(0x040, 3), (0x064, 0xFFFF_FFFF)]


def test_loading() -> None:
    chip = Chip()
    registers = chip.registers()
    with pytest.raises(UserError, match="^the chip has its weights in its bitstream; build it with weights that are loaded$"):
        registers.load(b"weights")
    chip.words[register("STATUS").at()] = 1 << 5
    for word, message in ((0, "the image is not complete"), (3 << 8, "reason 3")):
        chip.words[register("LOADING").at()] = word
        with pytest.raises(UserError, match=f"^the chip refuses these weights: {message}$"):
            registers.load(b"weights")
    chip.words[register("LOADING").at()], chip.written = 1, []
    registers.load(b"weights")
    assert chip.written == [(0x06C, int.from_bytes(b"weig", "little")), (0x068, int.from_bytes(b"hts", "little"))]


@pytest.mark.parametrize("offset, word, message", [
    (register("ID").at(), 5, "no Organza chip is at this address: it says 0x00000005"),
    (register("VERSION").at(), 99, "the chip's registers are of version 99, not 1"),
    (register("PROGRAM").at(0), 0, "the chip runs another Program (0000000089ab…, not 0123456789ab…); load its bitstream"),
    (register("DAMAGED").at(), 0b101, "stored weights of layer 0, 2 are damaged on the chip; load its bitstream again"),
])  # fmt: skip
def test_other_chips(offset: int, word: int, message: str) -> None:
    chip = Chip()
    chip.words[offset] = word
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        chip.registers().expect(DIGEST)


def test_mistakes() -> None:
    registers = Chip().registers()
    for action, error, message in (
        (lambda: registers.read("NOTHING"), ValueError, "Register must be one of ID, .*, not 'NOTHING'"),
        (lambda: registers.read("PROGRAM", 8), ValueError, "Index of PROGRAM must be between 0 and 7, not 8"),
        (lambda: registers.write("STATUS", busy=1), ValueError, "Register STATUS must not be written: it is read only"),
        (lambda: registers.write("CONTROL", rest=1), ValueError, "Field of CONTROL must be one of reset, abandon, not 'rest'"),
        (lambda: registers.write("CONTROL", reset=2), ValueError, "CONTROL.reset must be between 0 and 1, not 2"),
        (lambda: registers.write("CONTROL", reset="1"), TypeError, "CONTROL.reset must be an integer, not '1'"),
    ):
        with pytest.raises(error, match=f"^{message}$"):
            action()
