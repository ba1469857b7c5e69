# amaranth: UnusedElaboratable=no
"""Counters that are loaded and read byte by byte, against integers."""

import random

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.link.counters import count_up, countdown, long_count_up
from organza_sim.pysim import trace_cycles


class Counters(wiring.Component):
    """One that counts down and one that counts up, of 16 bits."""

    def __init__(self):
        ports = {"clear": In(1), "load": In(1), "step": In(1), "byte": In(8)}
        super().__init__({**ports, "more": Out(1), "value": Out(16), "full": Out(1)})

    def elaborate(self, platform):
        m = Module()
        ports = {name: getattr(self, name) for name in ("clear", "load", "step", "byte")}
        value, full = count_up(m, 16, **ports)
        m.d.comb += [self.more.eq(countdown(m, 16, **ports)), self.value.eq(value), self.full.eq(full)]
        return m


def test_counters():
    rng, down, up, inputs, wanted = random.Random(1), 0, 0, [], []
    for _ in range(600):
        kind, byte = rng.choice(["clear", "step", "step", "step", "step", "load", "nothing"]), rng.choice([0, 0, 1, 2, 255])
        inputs.append({name: int(name == kind) for name in ("clear", "load", "step")} | {"byte": byte})
        wanted.append((up, *((down != 0, up == 0xFFFF) if kind == "step" else (None, None))))
        if kind == "load":
            down, up = (value >> 8 | byte << 8 for value in (down, up))
        elif kind == "step":
            down, up = (down - 1) % (1 << 16), (up + 1) % (1 << 16)
        elif kind == "clear":
            down = up = 0
    seen = trace_cycles(Counters(), inputs, ["value", "more", "full"])
    assert [(value, *((None, None) if flag is None else (bool(more), bool(full)))) for (_, flag, _), (value, more, full) in zip(wanted, seen, strict=True)] == wanted
    assert any(full for _, _, full in wanted)


class LongCounter(wiring.Component):
    """Of 16 bits in two halves."""

    def __init__(self):
        self.ports = {"clear": In(1), "load": In(1), "step": In(1)}
        super().__init__({**self.ports, "value": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.value.eq(long_count_up(m, 16, **{name: getattr(self, name) for name in self.ports}))
        return m


def test_a_long_counter_knows_all_of_it_a_cycle_later():
    rng, value, inputs, wanted = random.Random(2), 0, [], []
    for kind in ["step"] * 5 + ["load", "clear"] + rng.choices(["step", "load"], [9, 1], k=30) + ["clear", "step"]:
        times = rng.choice([1, 100, 255, 256, 300]) if kind == "step" else 1
        value = value + times if kind == "step" else value >> 8 if kind == "load" else 0
        inputs += [{name: int(name == kind) for name in ("clear", "load", "step")}] * times + [dict.fromkeys(("clear", "load", "step"), 0)] * 2
        wanted.append((len(inputs) - 1, value % (1 << 16)))
    seen = trace_cycles(LongCounter(), inputs, ["value"])
    assert [seen[at][0] for at, _ in wanted] == [value for _, value in wanted] and max(value for _, value in wanted) > 511
