# amaranth: UnusedElaboratable=no
"""The controller against a chip that refuses what its data sheet forbids: words, rows, refreshes, clocks, and times that are too short."""

from __future__ import annotations

import numpy as np
import pytest

from organza_hw.external.sdram import Order, Sdram
from organza_hw.external.sdram_timing import Cycles
from organza_sim.sdram_chip import Chip, ProtocolError
from tests.organza_hw.external.sdram_bench import HZ, ULX3S, Pads, memory
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
    """Words and tags that came, the orders, and the cycles of the first request and the last answer; with `own` times the controller has others than the chip."""
    dut = Sdram(own or memory(), hz, tag_bits=2)
    pads = Pads(Chip(chip or memory()), dut, hz, *([] if delay is None else [delay]))
    came, marks = [], []

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
                marks.append(cycle)
            if offered and taken:
                marks.append(cycle) if at == 0 else None
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
