# amaranth: UnusedElaboratable=no
"""Bytes on a serial line, against waveforms that are drawn edge by edge."""

import random
import re
from itertools import pairwise

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.link.uart import LEAST_DIVISOR, MOST_DIVISOR, RECEIVED, UartReceiver, UartTransmitter
from organza_sim.pysim import trace_cycles

DIVISORS = [4, 5, 7, 18]
SLOWEST = 0.02  # how far a host's baud rate may be off


class Line:
    """The level of a line over time, in cycles of the receiver, which are nobody else's."""

    def __init__(self, divisor, rng):
        self.divisor, self.rng = divisor, rng
        self.time = 2 + rng.random()
        self.levels = [1] * int(self.time)

    def hold(self, level, time):
        """The line has this level for some time, which need not be whole cycles."""
        self.time += time
        self.levels += [level] * (int(self.time) - len(self.levels))

    def send(self, byte, *, off=0.0, stop=1):
        """One byte; each bit is longer than it should be by `off` of its length."""
        for level in (0, *(byte >> bit & 1 for bit in range(8)), stop):
            self.hold(level, self.divisor * (1 + off))

    def rest(self, bits):
        self.hold(1, self.divisor * bits)

    def received(self):
        """(byte, broken) in the order in which a receiver gives them, and in which cycles it does."""
        self.rest(11)
        inputs = [{} if level == before else {"rx": level} for before, level in pairwise([None, *self.levels])]
        seen = trace_cycles(UartReceiver(self.divisor), inputs, ["o.valid", "o.payload.byte", "o.payload.broken"])
        given = [(cycle, byte, broken) for cycle, (valid, byte, broken) in enumerate(seen) if valid]
        return [(byte, bool(broken)) for _, byte, broken in given], [cycle for cycle, _, _ in given]


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("off", [-SLOWEST, 0, SLOWEST, None])
def test_bytes_at_rates_that_are_off(divisor, off):
    """With and without gaps, at any time within a cycle; None: a different rate for each byte."""
    rng = random.Random(divisor)
    line, sent = Line(divisor, rng), [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *rng.randbytes(30)]
    line.rest(1)
    for byte in sent:
        line.send(byte, off=rng.uniform(-SLOWEST, SLOWEST) if off is None else off)
        line.rest(rng.choice([0, 0, rng.random(), 3 * rng.random()]))
    assert line.received()[0] == [(byte, False) for byte in sent]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_latency(divisor):
    line = Line(divisor, random.Random(0))
    line.time = 2.0
    line.rest(1)
    start = len(line.levels)
    line.send(0x53)
    assert line.received() == ([(0x53, False)], [start + UartReceiver(divisor).latency])
    assert UartReceiver(divisor).latency == 2 + divisor // 2 + 9 * divisor + 1


@pytest.mark.parametrize("divisor", DIVISORS)
def test_glitches(divisor):
    """A line that is low for half a bit or less is not a byte, and does not hinder the next."""
    rng = random.Random(divisor)
    line, sent = Line(divisor, rng), []
    for _ in range(20):
        line.time = float(int(line.time))
        line.hold(0, rng.randint(1, divisor // 2))
        line.rest(1 + 3 * rng.random())
        if rng.random() < 0.5:
            sent.append(rng.randrange(256))
            line.send(sent[-1], off=rng.uniform(-SLOWEST, SLOWEST))
            line.rest(rng.random())
    assert line.received()[0] == [(byte, False) for byte in sent]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_broken_stop_bits(divisor):
    """Each gives one broken byte, however long the line stays low; the next begins as soon as it has been high."""
    rng = random.Random(divisor)
    line, sent = Line(divisor, rng), []
    line.rest(1)
    for _ in range(30):
        byte, broken = rng.choice([0, 0xFF, rng.randrange(256)]), rng.random() < 0.5
        sent.append((byte, broken))
        line.send(byte, stop=0 if broken else 1)
        if broken:
            line.hold(0, divisor * rng.choice([0, rng.random(), 30 * rng.random()]))
            line.hold(1, rng.choice([1, divisor, 12 * divisor]))
    assert line.received()[0] == sent


@pytest.mark.parametrize("divisor", [4, 9])
def test_a_line_that_was_never_high(divisor):
    line = Line(divisor, random.Random(0))
    line.hold(0, 40 * divisor)
    line.rest(1)
    line.send(0x31)
    assert line.received()[0] == [(0, True), (0x31, False)]


def transmit(divisor, items, cycles):
    """The line while bytes are offered, each so many cycles after the one before was taken, and when they are taken."""
    seen, taken = [], []

    def drive():
        waiting, since = list(items), 0
        for cycle in range(cycles):
            if seen and seen[-1][1] and seen[-1][2]:
                taken.append(cycle - 1)
                waiting.pop(0)
                since = 0
            offered = bool(waiting) and since >= waiting[0][0]
            since += 1
            yield {"i.valid": int(offered), "i.payload": waiting[0][1] if offered else 0xA5}

    trace_cycles(UartTransmitter(divisor), drive(), ["tx", "i.valid", "i.ready"], seen)
    return [tx for tx, _, _ in seen], taken


@pytest.mark.parametrize("divisor", [4, 5, 16])
def test_waveform(divisor):
    """From the cycle after a byte was taken on, every bit is as long as it should be; otherwise the line is high."""
    rng = random.Random(divisor)
    items = [(rng.choice([0, 0, 1, rng.randrange(15 * divisor)]), rng.randrange(256)) for _ in range(25)]
    cycles = sum(10 * divisor + gap + 2 for gap, _ in items) + 20
    tx, taken = transmit(divisor, items, cycles)
    assert len(taken) == len(items)
    wanted = [1] * cycles
    for start, (_, byte) in zip(taken, items, strict=True):
        bits = [0, *(byte >> bit & 1 for bit in range(8)), 1]
        for place in range(10 * divisor):
            wanted[start + 1 + place] = bits[place // divisor]
    assert tx == wanted


@pytest.mark.parametrize("divisor", [4, 5, 16])
def test_no_gap_between_bytes(divisor):
    items = [(0, byte) for byte in (0x00, 0xFF, 0x5A, 0x00)]
    _, taken = transmit(divisor, items, 41 * divisor)
    assert taken == [10 * divisor * number for number in range(4)]


class Loop(wiring.Component):
    """A transmitter whose line is a receiver's."""

    def __init__(self, divisor):
        self.transmitter, self.receiver = UartTransmitter(divisor), UartReceiver(divisor)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(RECEIVED, always_ready=True))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter, m.submodules.receiver = self.transmitter, self.receiver
        wiring.connect(m, wiring.flipped(self.i), self.transmitter.i)
        m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
        wiring.connect(m, self.receiver.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("divisor", [4, 5, 6, 7, 17])
def test_loopback(divisor):
    rng = random.Random(divisor)
    sent, gaps = rng.randbytes(24), [rng.choice([0, 0, rng.randrange(9 * divisor)]) for _ in range(24)]
    seen = []

    def drive():
        count, since = 0, 0
        for _ in range(24 * 10 * divisor + sum(gaps) + 20 * divisor):
            if seen and seen[-1][0] and seen[-1][1]:
                count, since = count + 1, 0
            offered = count < len(sent) and since >= gaps[count]
            since += 1
            yield {"i.valid": int(offered), "i.payload": sent[count] if offered else 0}

    trace_cycles(Loop(divisor), drive(), ["i.valid", "i.ready", "o.valid", "o.payload.byte", "o.payload.broken"], seen)
    assert [(byte, broken) for _, _, valid, byte, broken in seen if valid] == [(byte, 0) for byte in sent]


@pytest.mark.parametrize("kind", [UartReceiver, UartTransmitter])
def test_wrong_divisors(kind):
    for divisor in (LEAST_DIVISOR - 1, -8, MOST_DIVISOR + 1):
        message = f"{kind.__name__} divisor must be between {LEAST_DIVISOR} and {MOST_DIVISOR}, not {divisor}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            kind(divisor)
    for divisor in (4.0, "8", True, None):
        with pytest.raises(
            TypeError, match=f"^{re.escape(f'{kind.__name__} divisor must be an integer, not {divisor!r}')}$"
        ):
            kind(divisor)
