# amaranth: UnusedElaboratable=no
"""Registers behind AXI4-Lite, at the offsets that a C compiler reads from the header, whatever waits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Value

from organza.registers import ADDRESS_BITS, WORD_BYTES, Access
from organza_hw.axi.registers import OKAY, SLVERR, RegisterFile, member
from tests.organza.test_registers import header_numbers
from tests.organza_hw.link.shared import simulate
from tests.organza_hw.patterns import CROSSED, PATTERNS

JOINTS = [2, 5]
KEPT = Access.RW, Access.WO  # what a register reads comes from within


class Bus:
    """Offers what is in a queue to a channel, or takes from it, with pauses of its own."""

    def __init__(self, channel, pauses, shift):
        self.channel, self.pauses, self.shift = channel, np.array(PATTERNS[pauses], bool), shift
        self.queue, self.taken, self.offered, self.waiting = [], [], False, None

    def go(self, cycle):
        return not self.pauses[(cycle + self.shift) % len(self.pauses)]


async def converse(ctx, file, writes, reads, idle, pressure, watchdog=6000):
    """Answers to writes (address, word, strobes) and to reads of addresses; both at the same time, one after the other in each."""
    buses = {name: Bus(getattr(file, name), pressure if name in "br" else idle, 7 * k) for k, name in enumerate(("aw", "w", "b", "ar", "r"))}
    buses["aw"].queue = [address for address, _, _ in writes]
    buses["w"].queue = [word | strobes << 32 for _, word, strobes in writes]
    buses["ar"].queue = list(reads)
    pulses = []
    for cycle in range(watchdog):
        for name, bus in buses.items():
            if name in "br":
                ctx.set(bus.channel.ready, bus.go(cycle))
                continue
            bus.offered = bool(bus.queue) and (bus.offered or bus.go(cycle))
            ctx.set(bus.channel.valid, bus.offered)
            ctx.set(Value.cast(bus.channel.payload), bus.queue[0] if bus.offered else 0)
        signals = [signal for bus in buses.values() for signal in (bus.channel.valid, bus.channel.ready, Value.cast(bus.channel.payload))]
        _, _, *values, control = await ctx.tick().sample(*signals, file.control_written)
        pulses += [control] if control else []
        for k, bus in enumerate(buses.values()):
            valid, ready, payload = values[3 * k : 3 * k + 3]
            assert bus.waiting is None or (valid and payload == bus.waiting), "what was offered goes away"
            bus.waiting = payload if valid and not ready else None
            if valid and ready:
                bus.taken.append(payload)
                if bus.queue:
                    bus.queue.pop(0)
                    bus.offered = False
        if len(buses["b"].taken) == len(writes) and len(buses["r"].taken) == len(reads):
            break
    else:
        raise AssertionError("an access is not answered")
    for bus in buses.values():
        ctx.set(bus.channel.ready if bus.channel in (file.b, file.r) else bus.channel.valid, 0)
    for _ in range(10):
        _, _, *more = await ctx.tick().sample(file.b.valid, file.r.valid)
        assert more == [0, 0], "an answer to nothing"
    return buses["b"].taken, [(word & 0xFFFF_FFFF, word >> 32) for word in buses["r"].taken], pulses


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_reads_and_writes(idle, pressure, tmp_path_factory: pytest.TempPathFactory) -> None:
    rng, file = np.random.default_rng(3), RegisterFile(JOINTS, loads=True)
    values = {member(one, index): int(rng.integers(1, 1 << 32)) for one, index, _ in file.places if one.access not in KEPT}
    at = header_numbers(tmp_path_factory.mktemp("header"))
    names = {(f"ORGANZA_{one.name}({k})" if one.count > 1 else f"ORGANZA_{one.name}"): member(one, k) for one, k, _ in file.places}
    order = rng.permutation(sorted(names)).tolist()
    order = [name for name in order if "HIGH" not in name and "OVERFLOW" not in name]
    # What is kept is read behind what keeps it.
    order = [other for name in order for other in (name, name.replace("LOW", "HIGH").replace("EXPONENT", "OVERFLOW"))]
    reads = [at[name] for name in order]
    known = {offset for _, _, offset in file.places}
    absent = [int(a) for a in rng.permutation(range(0, 1 << ADDRESS_BITS, WORD_BYTES)) if a not in known][:30]
    scratch, control = at["ORGANZA_SCRATCH"], at["ORGANZA_CONTROL"]
    writes = [(scratch, 0x0403_0201, 0b1111), (scratch, 0xFFFF_FFFF, 0b0100), (scratch + 3, 0x5A5A_5A5A, 0b1000), (scratch, 0x7777_7777, 0),
              (control, 0xFFFF_FFFF, 0b0010), (control, 3, 0b0001), (control, 3, 0b1110), (at["ORGANZA_STATUS"], 1, 0b1111), (absent[0], 1, 0b1111)]  # fmt: skip

    async def testbench(ctx):
        for name, value in values.items():
            ctx.set(getattr(file, name), value)
        answers, _, pulses = await converse(ctx, file, writes, [], idle, pressure)
        assert answers == [OKAY] * 7 + [SLVERR] * 2
        assert pulses == [0xFF00, 3], "bits of CONTROL that were written as 1, for a cycle"
        assert ctx.get(file.scratch) == 0x5AFF_0201
        _, words, _ = await converse(ctx, file, [], reads + absent, idle, pressure)
        known_words = {**values, "scratch": 0x5AFF_0201, "load": 0, "load_first": 0}
        wanted = [(known_words[names[name]], OKAY) for name in order]
        assert words == wanted + [(0, SLVERR)] * len(absent)
        # At the same time, neither waits for the other.
        answers, words, _ = await converse(ctx, file, [(scratch, 1, 15)] * 9, [at["ORGANZA_ID"]] * 9, idle, pressure)
        assert answers == [OKAY] * 9 and words == [(values["id"], OKAY)] * 9

    simulate(file, testbench)


def test_both_halves_of_one_moment(tmp_path: Path) -> None:
    """What CYCLES_HIGH is when CYCLES_LOW is read is what is read of it later."""
    file, at = RegisterFile(JOINTS), header_numbers(tmp_path)

    async def testbench(ctx):
        for low, high in ((0xFFFF_FFFF, 4), (3, 5)):
            ctx.set(file.cycles_low, low)
            ctx.set(file.cycles_high, high)
            found = (await converse(ctx, file, [], [at["ORGANZA_CYCLES_LOW"]], "never", "never"))[1]
            ctx.set(file.cycles_low, 0)
            ctx.set(file.cycles_high, 99)
            assert found + (await converse(ctx, file, [], [at["ORGANZA_CYCLES_HIGH"]], "never", "never"))[1] == [(low, OKAY), (high, OKAY)]

    simulate(file, testbench)


def test_latency(tmp_path: Path) -> None:
    """Two cycles for a write, three for a read, when nobody waits."""
    file, at = RegisterFile(), header_numbers(tmp_path)

    async def testbench(ctx):
        for request, answer, cycles in (("aw", "b", 2), ("ar", "r", 3)):
            ctx.set(getattr(file, answer).ready, 1)
            ctx.set(getattr(file, request).payload.addr, at["ORGANZA_SCRATCH"])
            for channel in (request, "w")[: 2 if request == "aw" else 1]:
                ctx.set(getattr(file, channel).valid, 1)
            seen = []
            for _ in range(6):
                _, _, valid = await ctx.tick().sample(getattr(file, answer).valid)
                seen.append(valid)
                for channel in (request, "w"):
                    ctx.set(getattr(file, channel).valid, 0)
            assert seen.index(1) == cycles and sum(seen) == 1

    simulate(file, testbench)
