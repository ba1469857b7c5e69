# amaranth: UnusedElaboratable=no
"""The controller against a chip that refuses what its data sheet forbids: words, rows, refreshes, clocks, and times that are too short."""

from __future__ import annotations

import numpy as np
import pytest

from organza_hw.external.sdram import Order, Sdram
from organza_hw.external.sdram_timing import Cycles
from organza_sim.sdram_chip import Chip, ProtocolError
from tests.organza_hw.external.sdram_bench import HZ, Pads, memory
from tests.organza_hw.link.shared import simulate
from tests.organza_hw.patterns import CROSSED, PATTERNS

LIMIT = 20_000  # cycles without an end


def random_requests(rng, count):
    """Runs of writes and reads near each other and across rows and banks; words that are read were written, and what they must be."""
    held, requests, wanted = {}, [], []
    while len(requests) < count:
        start, run, write = int(rng.integers(0, 4) * 509 + rng.integers(0, 16)), int(rng.integers(1, 12)), rng.random() < 0.5
        for address in range(start, start + run):
            if write or address not in held:
                held[address] = int(rng.integers(1 << 16))
                requests.append((1, address, held[address], 0))
            else:
                requests.append((0, address, 0, len(wanted) % 4))
                wanted.append((held[address], len(wanted) % 4))
    return requests, wanted


def run(requests, answers, *, hz=HZ, chip=None, own=None, idle=PATTERNS["never"], pressure=PATTERNS["never"], delay=None):
    """Words and tags that came, the orders, and when the last request was taken and the last answer; with `own` times the controller has others than the chip."""
    dut = Sdram(own or memory(), hz, tag_bits=2)
    pads = Pads(Chip(chip or memory()), dut, hz, *([] if delay is None else [delay]))
    came, marks = [], [0, 0]

    async def testbench(ctx):
        at, held, offered, cycle = 0, None, False, 0
        while at < len(requests) or len(came) < answers:
            offered = at < len(requests) and (offered or not idle[cycle % len(idle)])
            if offered:
                for name, value in zip(("write", "address", "data", "tag"), requests[at], strict=True):
                    ctx.set(getattr(dut.i.payload, name), value)
            ctx.set(dut.i.valid, offered)
            ready = not pressure[cycle % len(pressure)]
            ctx.set(dut.o.ready, ready)
            _, _, taken, valid, data, tag, *pins = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.payload.data, dut.o.payload.tag, *pads.signals)
            ctx.set(dut.pins.dq_i, pads.edge(pins))
            assert held is None or (valid, data, tag) == held
            held = (valid, data, tag) if valid and not ready else None
            if valid and ready:
                came.append((data, tag))
                marks[1] = cycle
            if offered and taken:
                marks[0] = cycle
                at, offered = at + 1, False
            cycle += 1
            assert cycle < LIMIT, "the controller stands still"
        for _ in range(40):
            _, _, valid, *pins = await ctx.tick().sample(dut.o.valid, *pads.signals)
            assert not valid
            pads.edge(pins)

    simulate(dut, testbench)
    return came, pads.orders, marks


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_words_come_back(idle, pressure):
    requests, wanted = random_requests(np.random.default_rng(len(idle) * 31 + len(pressure)), 120)
    came, _, _ = run(requests, len(wanted), idle=PATTERNS[idle], pressure=PATTERNS[pressure])
    assert came == wanted


@pytest.mark.parametrize("mhz", [133, 100, 96, 94, 62, 25, 10])
def test_clocks(mhz):
    """From the fastest on, with a word that comes back sooner or later than it should; the slower ones take words with the falling edge."""
    requests, wanted = random_requests(np.random.default_rng(mhz), 60)
    assert Cycles.of(memory().timing, mhz * 1_000_000).falling == (mhz < 95)
    for delay in (3.0, 4.0, 5.0) if mhz not in (100, 96, 94) else (3.7, 4.0, 4.3):
        came, _, _ = run(requests, len(wanted), hz=mhz * 1_000_000, delay=delay)
        assert came == wanted


def test_a_clock_that_is_too_fast():
    with pytest.raises(ValueError, match=r"^Clock of the accelerator must be at most 133\.3 MHz for the board's memory, not 134$"):
        Sdram(memory(), 134_000_000)


def test_latency_and_throughput():
    """A word a cycle within a row; and what a new row costs."""
    count = 512
    fill = [(1, address, address, 0) for address in range(2 * count)]
    cycles = Cycles.of(memory().timing, HZ)
    came, orders, _ = run([*fill, *((0, address, 0, 0) for address in range(2 * count))], 2 * count)
    assert [data for data, _ in came] == [*range(2 * count)]
    reads = np.flatnonzero([order is Order.READ for order in orders])
    gaps = np.diff(reads)
    assert set(gaps.tolist()) - {1} and all(gap in (1, cycles.new_row) or gap >= cycles.refresh_cycle for gap in gaps)
    assert reads[-1] - reads[0] + 1 <= 2 * count + 2 * cycles.new_row + 4 * (cycles.refresh_cycle + cycles.new_row)

    came, _, (asked, answered) = run([(1, 5, 7, 0), (0, 5, 0, 1), (0, 5, 0, 2)], 2)
    assert came == [(7, 1), (7, 2)] and answered - asked == Sdram.LATENCY + cycles.cas_latency


def test_refreshes_go_on_without_requests():
    """As many as the chip needs, and it says so where they are fewer."""
    dut = Sdram(memory(refresh_interval=500.0), HZ)
    pads = Pads(Chip(memory(refresh_interval=500.0)), dut)

    async def testbench(ctx):
        for _ in range(3000):
            _, _, *pins = await ctx.tick().sample(*pads.signals)
            pads.edge(pins)

    simulate(dut, testbench)
    assert 3000 * 8 / 500 - 3 < pads.orders.count(Order.REFRESH) - 8 < 3000 * 8 / 500 * 1.05


TIMES = {
    "row_to_column": "tRCD", "row_precharge": "tRP", "row_active": "tRAS", "row_cycle": "tRC", "refresh_cycle": "tRFC", "write_recovery": "tWR",
    "initialization": "initialisation", "refresh_interval": "refresh: too few",
}  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_is_too_short(name):
    """A controller of one chip beside another that needs longer is found out, for the right reason."""
    far = [(1, address * 512 * 4, address, 0) for address in range(60)]
    slower = memory(**{name: {"row_active": 120.0, "row_cycle": 140.0, "write_recovery": 40.0, "initialization": 2000.0, "refresh_interval": 600.0}.get(name, 75.0)})
    run(far, 0)
    with pytest.raises(ProtocolError, match=TIMES[name]):
        run(far, 0, chip=slower, own=memory(**({"refresh_interval": 1000.0} if name == "refresh_interval" else {})))


@pytest.mark.parametrize("delay", [-1.0, 9.0])
def test_words_that_come_too_early_or_late(delay):
    """What is taken from the bus is then no word."""
    requests, wanted = random_requests(np.random.default_rng(0), 60)
    came, _, _ = run(requests, len(wanted), delay=delay)
    assert came != wanted
