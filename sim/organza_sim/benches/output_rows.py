"""cocotb bench of the output rows: rows in by their write port, beats out by their stream.

Its parameters give the format ``o`` of the stream, ``row_beats``, the ``writes`` of every row as
[address, offset, count, bits], the beats ``wanted`` with ``wanted_last``, and ``latency``, the
cycles from the end of a row to its first beat.
"""

import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from organza_sim.beats import Beat
from organza_sim.benches.stream import StreamMonitor, StreamSink, parameters, receive, start

ROWS = 2  # that the memory holds
PORTS = ("w_addr", "w_offset", "w_count", "w_data")


class Writer:
    """Writes rows as early as an engine may: when fewer than two are not yet sent. With the
    probability ``stall`` it pauses in a cycle, and ends a row later than with its last write.

    While it pauses, all ports but the enables have random values. ``completed`` and ``freed`` are
    the cycles in which rows were ended and in which the component gave them back.
    """

    def __init__(self, dut, rows: list, *, stall: float, seed: int):
        self._dut, self._rows, self._stall = dut, rows, stall
        self._random = random.Random(seed)
        self.completed: list[int] = []
        self.freed: list[int] = []
        self._task = cocotb.start_soon(self._run())

    def _pauses(self) -> bool:
        return self._random.random() < self._stall

    async def _run(self) -> None:
        dut, cycle, begun, pending = self._dut, 0, 0, None
        while True:
            await FallingEdge(dut.clk)
            if pending is None and begun < len(self._rows) and begun - len(self.freed) < ROWS:
                pending, begun = list(self._rows[begun]), begun + 1
            enable = bool(pending) and not self._pauses()
            values = [self._random.getrandbits(len(dut[port])) for port in PORTS]
            if enable and pending:
                values = pending.pop(0)
            last = pending == [] and not self._pauses()
            if last:
                pending = None
                self.completed.append(cycle)
            for port, value in zip(PORTS, values, strict=True):
                dut[port].value = value
            dut.w_en.value, dut.w_last.value = int(enable), int(last)
            await ReadOnly()
            if int(dut.unit_freed.value):
                self.freed.append(cycle)
                assert len(self.freed) <= len(self.completed), f"no row to free in cycle {cycle}"
            cycle += 1


async def _run(dut, stall_in: float, stall_out: float) -> tuple[Writer, StreamMonitor]:
    given = parameters()
    dut.w_en.value = dut.w_last.value = 0
    await start(dut)
    o = StreamMonitor(dut, "o", Beat(*given["o"]))
    writer = Writer(dut, given["writes"], stall=stall_in, seed=1)
    StreamSink(dut, "o", stall=stall_out, seed=2)
    await receive(dut, o, len(given["wanted"]))
    values, flags = o.beats()
    wrong = (values != np.array(given["wanted"])).any(1).sum()
    assert not wrong, f"{wrong} beats are wrong"
    assert flags.tolist() == given["wanted_last"], "the last flag is on a wrong beat"
    rows = len(given["writes"])
    assert len(writer.completed) == rows
    assert len(writer.freed) == rows, f"{len(writer.freed)} of {rows} rows were freed"
    return writer, o


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def free(dut):
    """No pauses: every beat and every freed row in exactly its cycle."""
    writer, o = await _run(dut, 0.0, 0.0)
    beats, latency = parameters()["row_beats"], parameters()["latency"]
    cycles, freed, at = [], [], 0
    for end in writer.completed:
        at = max(end + latency, at)  # rows follow each other without a gap
        cycles += range(at, at + beats)
        at += beats
        freed.append(at - 2)  # with the read of the last beat, one cycle before it shows
    assert o.cycles == cycles, f"beats came in the cycles {o.cycles} instead of {cycles}"
    assert writer.freed == freed, f"rows were freed in {writer.freed} instead of {freed}"


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stalls=[(0.5, 0.5), (0.1, 0.8), (0.8, 0.1), (0.0, 0.6), (0.6, 0.0)])
async def stalled(dut, stalls):
    """Random pauses on both sides: the same beats, not earlier."""
    writer, o = await _run(dut, *stalls)
    beats, latency = parameters()["row_beats"], parameters()["latency"]
    for end, first in zip(writer.completed, o.cycles[::beats], strict=True):
        assert first >= end + latency, f"a beat of cycle {first} is from a row ended in {end}"
