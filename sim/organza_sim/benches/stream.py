"""Sources, sinks and monitors of streams, for cocotb.

Everything happens around the falling edge: inputs change right after it, and once all has settled,
what will pass at the coming rising edge is sampled. So no result depends on the order in which a
simulator runs events.
"""

import json
import os
import random
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from organza_sim.beats import Beat

__all__ = ["StreamMonitor", "StreamSink", "StreamSource", "parameters", "receive", "start"]

PERIOD_NS = 10


def parameters() -> dict[str, Any]:
    """What :func:`organza_sim.cocotb_runner.run_bench` was given as ``parameters``."""
    return json.loads(os.environ.get("ORGANZA_BENCH", "{}"))


async def start(dut) -> None:
    """Starts the clock, unless it runs in Verilog, and resets ``dut``. Every test begins with it.

    The state of a design survives from test to test. The streams ``i`` and ``o``, where there are
    such, are left idle.
    """
    if not parameters().get("hdl_clock"):
        Clock(dut.clk, PERIOD_NS, unit="ns").start()
    for name in ("i__valid", "i__payload", "o__ready"):
        if hasattr(dut, name):
            dut[name].value = 0
    if hasattr(dut, "rst"):  # a memory alone has none
        dut.rst.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
    if hasattr(dut, "rst"):
        dut.rst.value = 0


class StreamMonitor:
    """Watches the stream ``name``: records every beat with its cycle, and fails the test if the
    stream changes or withdraws a beat that was not yet accepted, or is not 0 or 1.

    Cycles count from the first falling edge after the monitor was made, the same for all made
    together.
    """

    def __init__(self, dut, name: str, beat: Beat):
        self._clk, self._name, self._beat = dut.clk, name, beat
        self._payload, self._valid, self._ready = (
            dut[f"{name}__{part}"] for part in ("payload", "valid", "ready")
        )
        self._words: list[bytes] = []
        self.cycles: list[int] = []
        self._task = cocotb.start_soon(self._watch())

    def __len__(self) -> int:
        return len(self.cycles)

    def beats(self) -> tuple[np.ndarray, np.ndarray]:
        """The beats so far (B, n), and their ``last`` flags (B,)."""
        return self._beat.unpack(np.frombuffer(b"".join(self._words), "<u4"))

    async def _watch(self) -> None:
        waiting, cycle = None, 0
        while True:
            await FallingEdge(self._clk)
            await ReadOnly()
            for wire in (self._valid, self._ready):
                assert wire.value.is_resolvable, f"stream {self._name} is unknown in cycle {cycle}"
            valid, ready = int(self._valid.value), int(self._ready.value)
            if waiting is not None:
                assert valid, f"stream {self._name} withdraws beat {len(self)} in cycle {cycle}"
                assert self._payload.value == waiting, (
                    f"stream {self._name} changes beat {len(self)} in cycle {cycle}"
                )
            if valid and ready:
                value = self._payload.value
                assert value.is_resolvable, f"stream {self._name} has unknown bits in cycle {cycle}"
                self._words.append(value.to_unsigned().to_bytes(4 * self._beat.words, "little"))
                self.cycles.append(cycle)
            waiting = self._payload.value if valid and not ready else None
            cycle += 1


class StreamSource:
    """Offers beats to the stream ``name``. In each cycle it pauses with the probability ``stall``,
    but an offered beat stays until it is accepted."""

    def __init__(self, dut, name: str, beat: Beat, *, stall: float = 0.0, seed: int = 0):
        self._clk, self._beat, self._stall, self._random = dut.clk, beat, stall, random.Random(seed)
        self._payload, self._valid, self._ready = (
            dut[f"{name}__{part}"] for part in ("payload", "valid", "ready")
        )

    async def send(self, beats: np.ndarray, last: np.ndarray) -> None:
        """Returns when all of ``beats`` (B, n) with their ``last`` flags (B,) are accepted."""
        for words in self._beat.pack(beats, last):
            await FallingEdge(self._clk)
            while self._random.random() < self._stall:
                self._valid.value = 0
                await FallingEdge(self._clk)
            self._valid.value = 1
            self._payload.value = int.from_bytes(words.tobytes(), "little")
            await ReadOnly()
            while not int(self._ready.value):
                await FallingEdge(self._clk)
                await ReadOnly()
        await FallingEdge(self._clk)
        self._valid.value = 0


class StreamSink:
    """Accepts beats of the stream ``name``, and in each cycle declines with the probability
    ``stall``."""

    def __init__(self, dut, name: str, *, stall: float = 0.0, seed: int = 0):
        self._clk, self._stall, self._random = dut.clk, stall, random.Random(seed)
        self._ready = dut[f"{name}__ready"]
        self._task = cocotb.start_soon(self._accept())

    async def _accept(self) -> None:
        while True:
            await FallingEdge(self._clk)
            self._ready.value = int(self._random.random() >= self._stall)


async def receive(
    dut, monitor: StreamMonitor, count: int, *, patience: int = 1000, silence: int = 128
) -> None:
    """Waits until ``monitor`` has seen ``count`` beats, and for ``silence`` cycles more.

    Fails the test after ``patience`` cycles without a beat, and if there are more beats than
    ``count``.
    """
    idle, seen = 0, len(monitor)
    while len(monitor) < count:
        await FallingEdge(dut.clk)
        idle = 0 if len(monitor) > seen else idle + 1
        seen = len(monitor)
        if idle > patience:
            raise TimeoutError(
                f"only {seen} of {count} beats came, and none in the last {patience} cycles"
            )
    for _ in range(silence):
        await FallingEdge(dut.clk)
    assert len(monitor) == count, f"{len(monitor)} beats came instead of {count}"
