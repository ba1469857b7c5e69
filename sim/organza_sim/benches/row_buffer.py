"""cocotb bench of the row buffer: beats in by its stream, rows read back by its addresses.

Its parameters give the format ``i`` of the stream, the ``beats``, how many ``row_beats`` are a row
and how many cycles a beat takes (``step``), the ``depth`` of the ring, ``banks``, ``bank_words``
and ``word_bits`` of its memory, and ``reads``, for every row the words to be found while it is
there, as [bank, address, mask, bits]. Bits are unsigned.
"""

import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from organza_sim.beats import Beat
from organza_sim.benches.stream import StreamMonitor, StreamSource, parameters, start

READ_LATENCY = 2
VISIBLE = 2  # cycles from row_written to the first address that may read the row


class Reader:
    """Reads the oldest rows, all banks at once and in random order, compares every word and then
    releases the rows. With the probability ``stall`` it pauses; it begins in cycle ``begin``.

    ``written`` are the cycles with ``row_written``. Fails the test if a beat is taken for which the
    ring has no free row.
    """

    def __init__(self, dut, *, stall: float, seed: int, begin: int = 0):
        self._dut, self._given, self._stall, self._begin = dut, parameters(), stall, begin
        self._random = random.Random(seed)
        self.written: list[int] = []
        self.released = self.compared = 0

    def _pauses(self) -> bool:
        return self._random.random() < self._stall

    async def run(self) -> None:
        """Returns when every row was read and released."""
        dut, given, cycle, taken = self._dut, self._given, 0, 0
        banks, words, depth = given["banks"], given["bank_words"], given["depth"]
        bits = len(dut.r_addr) // banks
        queues: list[list] = [[] for _ in range(banks)]
        held, room = 0, depth
        asked: list[list] = [[]] * READ_LATENCY  # the words of the latest cycles, the earliest first
        while self.released < len(given["reads"]) or any(asked):
            await FallingEdge(dut.clk)
            release = 0
            if not held and cycle >= self._begin and not self._pauses():
                readable = sum(at + VISIBLE <= cycle for at in self.written[self.released :])
                held = self._random.randint(min(readable, 1), readable)
                for row in range(self.released, self.released + held):
                    for word in given["reads"][row]:
                        queues[word[0]].append(word)
                for queue in queues:
                    self._random.shuffle(queue)
            asks = [queue.pop() for queue in queues if queue and not self._pauses()]
            if held and not any(queues) and not self._pauses():
                # With the last read at the earliest: an address of the same cycle still counts.
                release, held = held, 0
            where = [self._random.randrange(words) for _ in range(banks)]
            for bank, address, *_ in asks:
                where[bank] = address
            dut.r_addr.value = sum(address << k * bits for k, address in enumerate(where))
            dut.release.value = release
            await ReadOnly()
            found = dut.r_data.value
            for bank, address, mask, value in asked[0]:
                low = bank * given["word_bits"]
                part = found[low + given["word_bits"] - 1 : low]
                assert part.is_resolvable, f"word {address} of bank {bank} is {part}"
                seen = part.to_unsigned() & mask
                assert seen == value, (
                    f"word {address} of bank {bank} is {seen:x} instead of {value:x} at {cycle}"
                )
                self.compared += 1
            asked = [*asked[1:], asks]
            taken += int(dut.i__valid.value) and int(dut.i__ready.value)
            assert taken <= room * given["row_beats"], f"a full ring takes a beat in cycle {cycle}"
            if int(dut.row_written.value):
                self.written.append(cycle)
            self.released += release
            room += release
            cycle += 1


async def _run(dut, stall_in: float, stall_out: float, begin: int = 0):
    given = parameters()
    beats = np.array(given["beats"])
    rows = len(given["reads"])
    dut.release.value = dut.r_addr.value = 0
    await start(dut)
    i = StreamMonitor(dut, "i", Beat(*given["i"]))
    # The ring counts rows by itself: `last` may be anything.
    last = np.random.default_rng(3).integers(0, 2, len(beats))
    source = StreamSource(dut, "i", Beat(*given["i"]), stall=stall_in, seed=1)
    cocotb.start_soon(source.send(beats, last))
    reader = Reader(dut, stall=stall_out, seed=2, begin=begin)
    await reader.run()
    assert len(i) == len(beats), f"{len(i)} of {len(beats)} beats were taken"
    assert reader.compared == sum(map(len, given["reads"]))
    assert len(reader.written) == rows
    assert reader.written == i.cycles[given["row_beats"] - 1 :: given["row_beats"]], (
        "row_written is not in the cycle of the last beat of a row"
    )
    return i


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def full(dut):
    """Source always valid, nobody reads at first: ``depth`` rows at full speed and not one more."""
    given = parameters()
    room = given["depth"] * given["row_beats"]
    begin = room * given["step"] + 50
    i = await _run(dut, 0.0, 0.0, begin)
    cycles = [(k + 1) * given["step"] - 1 for k in range(room)]
    assert i.cycles[:room] == cycles, f"{i.cycles[:room]} instead of {cycles}"
    assert i.cycles[room] > begin


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stalls=[(0.0, 0.0), (0.5, 0.5), (0.1, 0.9), (0.8, 0.1), (0.0, 0.6)])
async def stalled(dut, stalls):
    """Random pauses on both sides."""
    await _run(dut, *stalls)
