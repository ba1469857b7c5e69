# amaranth: UnusedElaboratable=no
"""A flash after reset: every byte of its image, again if it is refused, and nothing else."""

import numpy as np
import pytest

from organza_hw.loading.spi_flash import LEAST_HALF, READ, TRIES, WAKE, SpiFlash, half_period
from tests.organza_hw.link.shared import simulate
from tests.organza_hw.loading.flash import Flash
from tests.organza_hw.patterns import PATTERNS

HZ, OFFSET, SIZE = 1_000_000, 0x1234, 40
LIMIT = 20_000


def read(flash, *, hz=HZ, pattern="never", accept=1, cycles=LIMIT):
    """Bytes that came, by try, and the component's last state; `accept`: of the try that is good."""
    dut = SpiFlash(hz=hz, offset=OFFSET, size=SIZE)
    tries, stalls, state = [], PATTERNS[pattern], {}

    async def testbench(ctx):
        held, changed = None, {}
        for cycle in range(cycles):
            ctx.set(dut.o.ready, not stalls[cycle % len(stalls)])
            _, _, sck, cs, mosi, valid, byte, first, busy, failed = await ctx.tick().sample(
                dut.sck, dut.cs, dut.mosi, dut.o.valid, dut.o.payload.byte, dut.o.payload.first, dut.busy, dut.failed
            )
            assert held is None or (valid, byte, first) == held
            ready = not stalls[cycle % len(stalls)]
            held = (valid, byte, first) if valid and not ready else None
            if valid and ready:
                tries.extend([[]] if first else [])
                tries[-1].append(byte)
                ctx.set(dut.loaded, len(tries) == accept and len(tries[-1]) == SIZE)
            if state.get("sck") != sck:
                changed.setdefault(sck, []).append(cycle)
            state.update(sck=sck, cs=cs, busy=busy, failed=failed)
            ctx.set(dut.miso, flash.step(sck, cs, mosi))
        edges = sorted([*changed.get(0, []), *changed.get(1, [])])
        state["fastest"] = min(np.diff(edges[1:]))

    simulate(dut, testbench)
    return tries, state


CONTENT = bytes(OFFSET) + bytes(range(1, 1 + SIZE)) + b"behind"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_whole_image(pattern):
    flash = Flash(CONTENT)
    tries, state = read(flash, pattern=pattern)
    assert tries == [[*range(1, 1 + SIZE)]]
    assert flash.commands == [(WAKE, 0), (READ, OFFSET)]
    assert (state["busy"], state["failed"], state["cs"], state["sck"]) == (0, 0, 1, 0)
    assert state["fastest"] == LEAST_HALF


def test_again_until_it_is_good():
    flash = Flash(CONTENT)
    tries, state = read(flash, accept=2)
    assert tries == 2 * [[*range(1, 1 + SIZE)]]
    assert flash.commands == 2 * [(WAKE, 0), (READ, OFFSET)]
    assert (state["busy"], state["failed"]) == (0, 0)


def test_given_up():
    tries, state = read(Flash(b""), accept=0)
    assert tries == TRIES * [SIZE * [0xFF]]
    assert (state["busy"], state["failed"], state["cs"]) == (0, 1, 1)


def test_busy_until_then():
    _, state = read(Flash(CONTENT), cycles=300)
    assert (state["busy"], state["failed"]) == (1, 0)


def test_the_clock_of_the_flash():
    assert [half_period(hz) for hz in (12_000_000, 120_000_000, 125_000_000, 200_000_000)] == [3, 3, 4, 5]


def test_beyond_its_addresses():
    with pytest.raises(ValueError, match=r"^Flash must hold the image within 2\*\*24 bytes, not at 16777210 with 7$"):
        SpiFlash(hz=HZ, offset=(1 << 24) - 6, size=7)
