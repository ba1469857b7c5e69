# amaranth: UnusedElaboratable=no
"""The exponent unit and what it looks at against the software rule, cycle by cycle."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.exponents import ExponentRule, excess_bits
from organza_hw.exponents import ExponentUnit, Peaks, bit_length
from organza_sim.pysim import trace_cycles

EXCESS = range(48)


class Length(wiring.Component):
    def __init__(self, width):
        super().__init__({"i": In(width), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        # No register anywhere would leave the simulator without a clock to tick.
        m.d.sync += Signal().eq(self.i[0])
        m.d.comb += self.o.eq(bit_length(self.i))
        return m


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16, 46])
def test_bit_length(width):
    """Every value up to 256, and every length with the bits below set or not."""
    values = [*range(min(1 << width, 1 << 8)), *(1 << k for k in range(width)), *((1 << k + 1) - 1 for k in range(width))]
    seen = trace_cycles(Length(width), [{"i": value} for value in values], ["o"])
    assert [o for (o,) in seen] == [value.bit_length() for value in values]


def begins_and_ends(rng, images, pace):
    """For every cycle whether an image begins and whether one is complete, as an engine does it.

    At most two images are under way, and one begins `ExponentUnit.LATENCY` cycles after the last but one was complete or
    later; otherwise at any time, as often as `pace` says.
    """
    begun, done, cycle, schedule = 0, [], 0, []
    while len(done) < images:
        begins = begun < images and (begun < 2 or (len(done) > begun - 2 and done[begun - 2] + ExponentUnit.LATENCY <= cycle))
        begins = begins and rng.random() < pace
        ends = len(done) < begun and rng.random() < pace
        schedule.append((begins, ends))
        begun += begins
        if ends:
            done.append(cycle)
        cycle += 1
    return schedule


@pytest.mark.parametrize("pace", [1.0, 0.5, 0.1])
@pytest.mark.parametrize(
    "rule",
    [
        ExponentRule(initial=-10),
        ExponentRule(initial=-20, window=1),
        ExponentRule(initial=0, window=3, delay=2, headroom=0, low=-20),
        ExponentRule(initial=-31, window=16, delay=5, headroom=4),
        ExponentRule(initial=-9, low=-12, high=-4, window=2, delay=16),
    ],
    ids=str,
)
def test_random_images(rule, pace):
    """Peaks, overflows and limits of all sizes: exponents, registers and the cycles in which they change."""
    rng = np.random.default_rng(int(10 * pace))
    images = 120
    schedule = begins_and_ends(rng, images, pace)
    peaks = rng.integers(0, 2, images) * (rng.integers(0, 32769, images) >> rng.integers(0, 16, images))
    excess = np.where(rng.random(images) < 0.2, rng.integers(0, EXCESS[-1] + 1, images), 0)
    limits = np.sort(rng.integers(-31, 1, (images, 2)), 1)
    limits[rng.random(images) < 0.5] = (-31, 0)

    def drive():
        begun = ended = 0
        for begins, ends in schedule:
            # Noise where nothing begins or ends.
            low, high = limits[begun % images].tolist() if begins else rng.integers(-31, 1, 2).tolist()
            peak, more = (int(peaks[ended]), int(excess[ended])) if ends else rng.integers(0, 48, 2).tolist()
            yield {"begin": int(begins), "low": low, "high": high, "done": int(ends), "peak": peak, "excess": more}
            begun += begins
            ended += ends
        yield from [{"begin": 0, "done": 0}] * (1 + ExponentUnit.LATENCY)

    outputs = ["exponent", "status.valid", *(f"status.payload.{name}" for name in ("exponent", "peak", "overflow", "overflows"))]
    seen = trace_cycles(ExponentUnit(rule, excess=EXCESS), drive(), outputs)

    history, taken, registers, overflows = rule.start(), [], [], 0
    histories = [history]
    for image in range(images):
        low, high = limits[image].tolist()
        taken.append(rule.next(histories[image], low, high))
        history = rule.after(histories[image], rule.wanted(taken[image], int(peaks[image]), int(excess[image])))
        histories.append(history)
        overflows += int(excess[image] > 0)
        registers.append((taken[image], int(peaks[image]), int(excess[image] > 0), overflows))
    begun = ended = 0
    for (begins, ends), later in zip(schedule, seen[1:], strict=False):
        begun += begins
        ended += ends
        if begun:
            assert later[0] == taken[begun - 1]
        assert later[1] == ends
        if ended:
            assert later[2:] == registers[ended - 1]
    assert (begun, ended) == (images, images)


def test_every_exponent_and_length():
    """All exponents with peaks of every bit length, and with every excess: what one image asks for decides the next but one."""
    rule = ExponentRule(initial=0, window=1)
    cases = [(e, peak, more) for e in range(-31, 1)
             for peak, more in [*((1 << k, 0) for k in range(16)), *((2**15 - 1, k) for k in range(48)), (0, 0), (32768, 0)]]  # fmt: skip
    # With d = 1 an image rests on the last but one: begin another one in between.
    inputs, begins = [], []
    for e, peak, more in cases:
        inputs += [
            {"begin": 1, "low": e, "high": e, "done": 0}, {"low": -31, "high": -31},
            {"begin": 0, "done": 1, "peak": peak, "excess": more}, *[{"done": 0}] * (ExponentUnit.LATENCY - 1),
        ]  # fmt: skip
        begins.append(len(inputs))
        inputs += [{"begin": 1, "low": -31, "high": 0}, {"begin": 0, "done": 1, "peak": 0, "excess": 0}, {}, *[{"done": 0}] * (ExponentUnit.LATENCY - 1)]
    seen = trace_cycles(ExponentUnit(rule, excess=EXCESS), inputs, ["exponent"])
    made = [seen[cycle + 1][0] for cycle in begins]
    assert made == [rule.wanted(*case) for case in cases]


@pytest.mark.parametrize("e, bits", [(1, 20), (2, 17), (3, 30), (5, 62), (8, 16), (13, 40)])
@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_peaks(e, bits, stall):
    """Images of every length, some of one cycle; values beyond `count` and in idle cycles are noise."""
    rng = np.random.default_rng(e)
    inputs, wanted, values = [], [], []
    for _ in range(60):
        cycles = int(rng.integers(1, 8))
        scale = int(rng.integers(1, bits))
        for cycle in range(cycles):
            wide = rng.integers(-(1 << scale - 1), 1 << scale - 1, e)
            wide = np.where(rng.random(e) < 0.1, rng.choice([-32768, 32767, 0, -1]), wide) if bits > 16 else wide
            count = int(rng.integers(0, e + 1)) if cycles > 1 else e
            values += wide[:count].tolist()
            noise = rng.integers(-(1 << bits - 1), 1 << bits - 1, e)
            wide = np.where(np.arange(e) < count, wide, noise)
            inputs.append(_beat(wide, count, cycle == cycles - 1))
            while rng.random() < stall:
                inputs.append(_beat(rng.integers(-(1 << bits - 1), 1 << bits - 1, e), 0, False))
        values = values or [0]
        wanted.append((max(abs(min(max(value, -32768), 32767)) for value in values), excess_bits(min(values), max(values))))
        values = []
    ends = [cycle for cycle, change in enumerate(inputs) if change["end"]]
    latency = Peaks.latency(e)
    seen = trace_cycles(Peaks(e=e, bits=bits), inputs + [_beat(np.zeros(e, int), 0, False)] * latency, ["done", "peak", "excess"])
    assert [cycle for cycle, row in enumerate(seen) if row[0]] == [end + latency for end in ends]
    assert [row[1:] for row in seen if row[0]] == wanted


def _beat(wide, count, end):
    return {"wide": wide.tolist(), "values": np.clip(wide, -32768, 32767).tolist(), "count": count, "end": int(end)}


def test_values_around_every_power_of_two():
    """Each an image of its own."""
    near = np.array([sign * (1 << k) + d for k in range(41) for sign in (1, -1) for d in (-1, 0, 1)])
    values = np.concatenate([near, np.random.default_rng(0).integers(-(1 << 17), 1 << 17, 1000)])
    inputs = [_beat(np.array([value]), 1, True) for value in values]
    seen = trace_cycles(Peaks(e=1, bits=42), inputs + [{"end": 0, "count": 0}] * Peaks.latency(1), ["peak", "excess"])[Peaks.latency(1) :]
    assert seen == [(abs(min(max(value, -32768), 32767)), excess_bits(value, value)) for value in values.tolist()]
