"""A build on disk: Verilog, memory images, Program, Plan, and a testbench that needs none of Organza."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from organza.errors import UserError
from organza.plan import dump_plan, load_plan
from organza.program_file import load_program, save_program
from organza.register_texts import HEADER, MARKDOWN, c_header, markdown
from organza_hw.axi.top import TOP as AXI_TOP
from organza_hw.axi.top import axi_verilog
from organza_hw.build import TOP as GENERATOR
from organza_hw.build import Chip, memory_words
from organza_hw.external.memory import external_files, external_works
from organza_hw.loading.image import weight_image
from organza_sim import testbench
from organza_sim.api import FED, fed, joint_beats
from organza_sim.beats import to_beats

VERILOG, AXI = "generator.v", f"{AXI_TOP}.v"
OUTSIDE = "external_memory.v"  # with the accelerator in it: module `FED`
WEIGHTS = "weights.bin"
PROGRAM = "program.safetensors"
PLAN = "plan.json"
REPORT = "report.json"
README = "README.txt"
HASHES = "files.json"
TESTBENCH_IMAGES = 4


@dataclass(frozen=True, eq=False)
class Build:
    """A build folder as it is now.

    chip : Verilog and memory images as they lie in the folder, edited or not.
    edited : files whose content is not what `organza build` wrote.
    wrong_words : see `MemoryDifference`; the memory images that do not hold what the Program says.
    """

    path: Path
    chip: Chip
    edited: tuple[str, ...]
    wrong_words: tuple[MemoryDifference, ...]


@dataclass(frozen=True)
class MemoryDifference:
    """A memory image that differs from the Program: first differing line (from 1), and how many differ."""

    file: str
    line: int
    expected: str
    got: str
    count: int


def write_build(folder: Path, chip: Chip, inputs: np.ndarray, *, axi: bool = False) -> None:
    """Write everything but the reports into the existing `folder`.

    `inputs` are integers (N, channels, height, width); the first few become the data of the plain testbench. With `axi`, a top with
    AXI ports and what says its registers come along.

    Raises `UserError` if the chip has no such top.
    """
    (folder / VERILOG).write_text(chip.verilog())
    for name, text in chip.files.items():
        (folder / name).write_text(text)
    sources = [VERILOG]
    if external_works(chip.program, chip.plan):
        (folder / OUTSIDE).write_text(fed(chip))
        sources.append(OUTSIDE)
    image = weight_image(chip.program, chip.plan) if chip.program.loads else b""
    if image:
        (folder / WEIGHTS).write_bytes(image)
    save_program(chip.program, folder / PROGRAM)
    dump_plan(chip.plan, folder / PLAN)
    _write_testbench(folder, chip, inputs[:TESTBENCH_IMAGES], image, sources)
    (folder / README).write_text(_readme(chip, axi, sources))
    made: list[str] = [*sources, *chip.files, *([WEIGHTS] if image else []), *(_write_axi(folder, chip) if axi else [])]
    hashes = {name: _hash(folder / name) for name in sorted(made)}
    (folder / HASHES).write_text(json.dumps(hashes, indent=2) + "\n")


def _write_axi(folder: Path, chip: Chip) -> list[str]:
    """Names of the files that are no documentation."""
    try:
        (folder / AXI).write_text(axi_verilog(chip.program, chip.plan))
    except ValueError as error:
        raise UserError(f"--axi: {error}; fewer --lanes, or a --plan with narrower joints, may help") from error
    (folder / HEADER).write_text(c_header())
    (folder / MARKDOWN).write_text(markdown())
    return [AXI, HEADER]


def _write_testbench(folder: Path, chip: Chip, inputs: np.ndarray, image: bytes, sources: list[str]) -> None:
    joints, formats = chip.plan.joints, joint_beats(chip)
    testbench.write(
        folder,
        sources,
        *to_beats(inputs, joints[0].n),
        *to_beats(chip.program.run(inputs), joints[-1].n),
        i=formats[0],
        o=formats[-1],
        errors=len(chip.plan.engines),
        watchdog=max(100_000, 4 * chip.plan.cycles),
        image=image,
        top=FED if OUTSIDE in sources else GENERATOR,
    )


def load_build(path: str | Path) -> Build:
    """Read a build folder and check that its parts belong together.

    Raises `UserError` naming the file that is missing, damaged, or of another build.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; make one with 'organza build -o {path}'")
    if not (path / PROGRAM).exists():
        raise UserError(f"{path}: not a build folder (no {PROGRAM}); make one with 'organza build'")
    program = load_program(path / PROGRAM)
    plan = load_plan(path / PLAN)
    try:
        memories = memory_words(program, plan)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path / PLAN}: {error}; build again") from error
    source = _read(path / VERILOG)
    files, wrong = {}, []
    for name, (width, words) in memories.items():
        files[name] = _read(path / name)
        difference = _compare_words(path / name, files[name], words, width)
        if difference:
            wrong.append(difference)
    bits = sum(width * len(words) for width, words in memories.values())
    return Build(path, Chip(program, plan, source, files, bits), _edited(path), tuple(wrong))


def _compare_words(
    path: Path, text: str, expected: list[int], width: int
) -> MemoryDifference | None:
    """Compare a memory image word by word; comments and spacing are free, as in `$readmemh`."""
    got = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.partition("//")[0].split():
            digits = word.replace("_", "")
            if not re.fullmatch(r"[0-9a-fA-F]+", digits) or int(digits, 16) >> width:
                raise UserError(
                    f"{path}:{number}: must be a hexadecimal word of {width} bits, not {word[:40]!r}; build again"
                )
            got.append((number, int(digits, 16)))
    if len(got) != len(expected):
        raise UserError(f"{path}: must hold {len(expected)} words, not {len(got)}; build again")
    different = [
        (line, want, value)
        for (line, value), want in zip(got, expected, strict=True)
        if value != want
    ]
    if not different:
        return None
    line, want, value = different[0]
    digits = -(-width // 4)
    return MemoryDifference(
        path.name, line, f"{want:0{digits}x}", f"{value:0{digits}x}", len(different)
    )


def _edited(path: Path) -> tuple[str, ...]:
    try:
        hashes = json.loads(_read(path / HASHES))
        missing = [name for name in hashes if not (path / name).exists()]
        if missing:
            raise UserError(f"{path / missing[0]}: no such file; build again")
        return tuple(name for name, digest in hashes.items() if _hash(path / name) != digest)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path / HASHES}: not readable ({error}); build again") from error


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; build again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable ({error}); build again") from error


_AXI_README = f"""\
{AXI}              the accelerator between AXI4-Streams, with AXI4-Lite registers: top module `{AXI_TOP}`, which needs {VERILOG}
{HEADER}    its registers for C; {MARKDOWN} for people
"""


def _readme(chip: Chip, axi: bool, sources: list[str]) -> str:
    plan, program = chip.plan, chip.program
    files = " ".join(sources)
    beside = external_files(program, plan)
    names = "".join(f"    {name}\n" for name in chip.files if name not in beside)
    images = f"{names}                       memory images that generator.v reads with $readmemh; keep them in the working folder\n" if names else ""
    loads = f"{WEIGHTS:22} weights, which are loaded through the port `load` before anything runs (docs/loading.md)\n" if program.loads else ""
    outside = (
        f"{OUTSIDE:22} for simulation only: the memory beside the chip that the ports `weights*` ask for words, with what it holds in\n"
        f"{'':22} layer*_external.hex, and the accelerator (docs/external.md)\n"
    ) if OUTSIDE in sources else ""  # fmt: skip
    return f"""\
A generator accelerator: {len(program.nodes)} layers, {plan.lanes} multipliers.
One image takes {plan.cycles:,} cycles; images follow each other every {plan.interval:,} cycles.

generator.v            the accelerator; top module `generator`, ports clk, rst, i (stream in), o (stream out)
{images}{loads}{outside}{_AXI_README if axi else ""}\
program.safetensors    the integer meaning of the model: organza info program.safetensors
plan.json              lanes of every engine, beats and rings between them
report.html            pictures, a drawing of the pipeline, numbers for every layer; report.json for machines
images.png             the pictures; pipeline.svg and timeline.svg the drawings
files.json             SHA-256 of the generated files, so that 'organza verify' can tell which were edited
tb.v                   plain Verilog testbench with its data; it prints PASS or the first difference

Check the Verilog without Organza, in this folder:

    iverilog -g2012 -o tb.vvp tb.v {files} && vvp tb.vvp
    verilator --binary --timing -Wno-fatal -Wno-lint --top-module tb tb.v {files} && obj_dir/Vtb
    vlog -sv tb.v {files} && vsim -c tb -do "run -all; quit"                           (Questa, ModelSim)
    xvlog tb.v {files} && xelab tb -R                                                  (Vivado)

Check it with Organza, on as many images as you like:

    organza verify . --images 100
"""
