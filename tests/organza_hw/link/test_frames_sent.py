# amaranth: UnusedElaboratable=no
"""Frames that gateware sends against those of the software, and over a line to gateware that receives them."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from organza.link import END, ESC, ESC_END, ESC_ESC, Frame
from organza_hw.link.frames import FrameReceiver, FrameTransmitter
from organza_hw.link.uart import UartReceiver, UartTransmitter
from organza_sim.pysim import trace_cycles
from tests.organza_hw.link.shared import SPECIAL, changes
from tests.organza_hw.patterns import CROSSED, PATTERNS


class Source:
    """Offers items, each as soon as its pattern lets it, until it is taken; in between, noise that must not matter."""

    def __init__(self, name, items, idle, noises):
        self.name, self.items, self.idle, self.noises = name, items, idle, noises
        self.count, self.offered = 0, False

    def inputs(self, cycle, moved):
        """Those of this cycle, when the one before took the item or did not."""
        if moved:
            self.count, self.offered = self.count + 1, False
        if self.count < len(self.items):
            self.offered = self.offered or not self.idle[cycle % len(self.idle)]
        item = self.items[self.count] if self.offered else self.noises[cycle // 3 % len(self.noises)]
        fields = {f"{self.name}.payload.{key}": value for key, value in item.items()} if isinstance(item, dict) else {}
        return {f"{self.name}.valid": int(self.offered)} | (fields or {f"{self.name}.payload": item})


def transmitted(frames, *, idle="never", pressure="never"):
    """(cycle, byte) of all bytes on the wire, and the cycles that take frames; 60 quiet cycles follow."""
    heads = [{"kind": frame.kind, "sequence": frame.sequence, "length": len(frame.payload)} for frame in frames]
    payload = [byte for frame in frames for byte in frame.payload]
    stalls = PATTERNS[idle]
    noise = {"kind": END, "sequence": ESC, "length": 5}
    sources = [Source("frame", heads, stalls, [noise]), Source("payload", payload, stalls[::-1], SPECIAL)]
    ports = [f"{name}.{port}" for name in ("frame", "payload", "o") for port in ("valid", "ready")] + ["o.payload"]
    wanted, seen, pressed = sum(len(frame.encode()) for frame in frames), [], PATTERNS[pressure]

    def drive():
        given, quiet = 0, 0
        for cycle in range(300 + 30 * wanted):
            moved = [bool(seen) and seen[-1][2 * k] and seen[-1][2 * k + 1] for k in range(3)]
            given += moved[2]
            quiet = 0 if moved[2] else quiet + 1
            if quiet > 60 and given >= wanted:
                return
            inputs = {"o.ready": int(not pressed[cycle % len(pressed)])}
            for source, flag in zip(sources, moved[:2], strict=True):
                inputs |= source.inputs(cycle, flag)
            yield inputs
        raise TimeoutError(f"{given} of {wanted} bytes")

    trace_cycles(FrameTransmitter(), changes(drive()), ports, seen)
    for before, now in pairwise(seen):
        assert not before[4] or before[5] or (now[4], now[6]) == (1, before[6]), "an offer changed"
    assert [source.count for source in sources] == [len(heads), len(payload)]
    made = [(cycle, row[6]) for cycle, row in enumerate(seen) if row[4] and row[5]]
    return made, [cycle for cycle, row in enumerate(seen) if row[0] and row[1]]


def some_frames():
    rng = random.Random(0)
    frames = [
        Frame(0, 0),
        Frame(END, ESC),
        Frame(ESC_END, ESC_ESC, b"x"),
        Frame(1, 2, SPECIAL * 2),
        Frame(3, 4, rng.randbytes(9)),
    ]
    return frames + [
        Frame(rng.randrange(256), 5, bytes(rng.choices([*SPECIAL, 7], k=rng.randrange(9)))) for _ in range(4)
    ]


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_transmitter_with_stalls(idle, pressure):
    frames = some_frames()
    made, _ = transmitted(frames, idle=idle, pressure=pressure)
    assert bytes(byte for _, byte in made) == b"".join(frame.encode() for frame in frames)


def test_transmitter_sends_a_byte_a_cycle():
    """From the cycle after the one that takes a frame, and from frame to frame."""
    made, taken = transmitted(some_frames())
    assert [cycle for cycle, _ in made] == [*range(taken[0] + 1, taken[0] + 1 + len(made))]
    starts = [0]
    for frame in some_frames()[:-1]:
        starts.append(starts[-1] + len(frame.encode()))
    assert [made[start][0] for start in starts] == [cycle + 1 for cycle in taken]


def test_transmitter_does_not_wait_to_be_asked():
    """The first byte is offered and stays while nobody is ready, and no other payload is taken."""
    inputs = {"frame.valid": 1, "frame.payload.length": 2, "payload.valid": 1, "payload.payload": ESC, "o.ready": 0}
    seen = trace_cycles(
        FrameTransmitter(), [inputs] + [{}] * 20, ["o.valid", "o.payload", "frame.ready", "payload.ready"]
    )
    assert seen[0][0] == 0 and seen[0][2] == 1
    assert seen[1:] == [(1, END, 0, 0)] * 20


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 1000])
def test_transmitter_lengths(length):
    """Check sums of four special bytes too: among so many sequences and kinds each of them has one somewhere."""
    rng = random.Random(length)
    frames = [
        Frame(rng.randrange(256), rng.randrange(256), rng.randbytes(length)) for _ in range(1 if length > 1 else 40)
    ]
    made, _ = transmitted(frames)
    assert bytes(byte for _, byte in made) == b"".join(frame.encode() for frame in frames)


class Board(wiring.Component):
    """A receiver of frames whose line is a transmitter's."""

    def __init__(self, divisor, most):
        self.parts = UartTransmitter(divisor), UartReceiver(divisor)
        self.transmitter, self.receiver = FrameTransmitter(), FrameReceiver(most)
        given, taken = self.transmitter.signature.members, self.receiver.signature.members
        members = {name: taken[name] for name in ("frame", "damage", "address", "data", "release")}
        super().__init__({"head": given["frame"], "payload": given["payload"]} | members)

    def elaborate(self, platform):
        m = Module()
        send, receive = self.parts
        m.submodules += [self.transmitter, send, receive, self.receiver]
        wiring.connect(m, wiring.flipped(self.head), self.transmitter.frame)
        wiring.connect(m, wiring.flipped(self.payload), self.transmitter.payload)
        wiring.connect(m, self.transmitter.o, send.i)
        m.d.comb += receive.rx.eq(send.tx)
        wiring.connect(m, receive.o, self.receiver.i)
        wiring.connect(m, self.receiver.frame, wiring.flipped(self.frame))
        wiring.connect(m, self.receiver.damage, wiring.flipped(self.damage))
        m.d.comb += [
            self.receiver.address.eq(self.address),
            self.receiver.release.eq(self.release),
            self.data.eq(self.receiver.data),
        ]
        return m


def test_frames_over_a_line():
    frame = Frame(END, 2, SPECIAL + b"abc")
    head = {"head.valid": 1, "head.payload.kind": END, "head.payload.sequence": 2, "head.payload.length": 7}
    seen = []

    def drive():
        yield head
        yield {"head.valid": 0, "frame.ready": 1, "damage.ready": 1}
        place, taken = 0, None
        for cycle in range(2, 40 * len(frame.encode()) + 100):
            place += seen[-1][0] and seen[-1][1]
            if seen[-1][2]:
                taken = cycle
            address = cycle - taken if taken is not None and cycle < taken + 7 else 0
            yield {
                "payload.valid": int(place < 7),
                "payload.payload": frame.payload[place] if place < 7 else 0,
                "address": address,
            }

    ports = [
        "payload.valid",
        "payload.ready",
        "frame.valid",
        "frame.payload.kind",
        "frame.payload.length",
        "damage.valid",
        "data",
    ]
    trace_cycles(Board(4, 16), changes(drive()), ports, seen)
    (offered,) = [cycle for cycle, row in enumerate(seen) if row[2]]
    assert seen[offered][3:5] == (END, 7) and not any(row[5] for row in seen)
    assert bytes(row[-1] for row in seen[offered + 1 + FrameReceiver.READ_LATENCY :][:7]) == frame.payload
