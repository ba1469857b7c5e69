"""An SDR SDRAM for simulation, which refuses what its data sheet forbids; `sdram_chip.h` is the chip, here it is for Python."""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache
from pathlib import Path

from organza.board import Memory
from organza_sim import cache as store
from organza_sim import verilator

HEADER = Path(__file__).with_name("sdram_chip.h")
SOURCE = Path(__file__).with_name("sdram_chip.cpp")
NUMBERS = (
    "row_to_column", "row_precharge", "row_active", "row_cycle", "refresh_cycle", "write_recovery", "refresh_interval", "initialization",
    "access", "hold", "clock", "cas_latency",
)  # fmt: skip


class ProtocolError(Exception):
    """What a chip was asked for, against its data sheet."""


def numbers(memory: Memory) -> str:
    """What the model reads of a board's memory, which has pins and timing."""
    assert memory.pins is not None and memory.timing is not None
    values = [getattr(memory.timing, name) for name in NUMBERS]
    return " ".join(map(str, [*values, memory.width, len(memory.pins.ba), memory.column_bits]))


class Chip:
    """One chip. Times are in nanoseconds, from any moment on."""

    def __init__(self, memory: Memory):
        self._library = _library()
        self._held = self._library.sdram_new(numbers(memory).encode())

    def __del__(self) -> None:
        self._library.sdram_delete(self._held)

    def edge(self, time: float, order: int, *, ba: int = 0, a: int = 0, cke: int = 1, cs: int = 0, dqm: int = 0, dq: int | None = None) -> None:
        """A rising edge of its clock. order : ras, cas, we at the pins, the first lowest. dq : what another drives.

        Raises `ProtocolError` with the rule that is broken.
        """
        wrong = self._library.sdram_edge(self._held, time, cke, cs, order, ba, a, dqm, dq or 0, dq is not None)
        if wrong:
            raise ProtocolError(f"at {time:g} ns: {wrong.decode()}")

    def read(self, time: float) -> int:
        """What is on the bus, if nobody else drives it; where the chip has no valid word there, something."""
        return self._library.sdram_read(self._held, time)


@cache
def _library() -> ctypes.CDLL:
    """The compiled model, from the cache. Raises `VerilatorError` if there is no compiler, RuntimeError if it refuses."""
    compiler = verilator.find().cxx
    made = store.folder("sdram") / f"{store.digest(*compiler, HEADER.read_text(), SOURCE.read_text())}.so"
    if not made.exists():
        with store.scratch("sdram") as work:
            command = [*compiler, "-std=c++17", "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(work / "chip.so")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"the model of an SDRAM does not compile: {done.stderr[-2000:]}")
            store.publish(work / "chip.so", made)
    library = ctypes.CDLL(str(made))
    library.sdram_new.restype = ctypes.c_void_p
    library.sdram_new.argtypes = [ctypes.c_char_p]
    library.sdram_delete.argtypes = [ctypes.c_void_p]
    library.sdram_edge.restype = ctypes.c_char_p
    library.sdram_edge.argtypes = [ctypes.c_void_p, ctypes.c_double, *[ctypes.c_int] * 3, *[ctypes.c_uint32] * 4, ctypes.c_int]
    library.sdram_read.restype = ctypes.c_uint32
    library.sdram_read.argtypes = [ctypes.c_void_p, ctypes.c_double]
    return library
