# amaranth: UnusedElaboratable=no
"""Frames that gateware sends against those of the software, and over a line to gateware that receives them."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from organza.link import END, ESC, ESC_END, ESC_ESC, LENGTH_BYTES, Frame
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


def content(frame):
    """Items of a frame but for its check sum."""
    octets = bytes([frame.kind, frame.sequence, *len(frame.payload).to_bytes(LENGTH_BYTES, "little")]) + frame.payload
    return [{"byte": byte, "last": int(place == len(octets) - 1)} for place, byte in enumerate(octets)]


def transmitted(frames, *, idle="never", pressure="never"):
    """(cycle, byte) of all bytes on the wire, and the first cycle with something to send; 60 quiet cycles follow."""
    items = [item for frame in frames for item in content(frame)]
    source = Source("i", items, PATTERNS[idle], [{"byte": byte, "last": 1} for byte in SPECIAL])
    ports = ["i.valid", "i.ready", "o.valid", "o.ready", "o.payload"]
    wanted, seen, pressed = sum(len(frame.encode()) for frame in frames), [], PATTERNS[pressure]

    def drive():
        given, quiet = 0, 0
        for cycle in range(300 + 30 * wanted):
            moved = [bool(seen) and seen[-1][2 * k] and seen[-1][2 * k + 1] for k in range(2)]
            given += moved[1]
            quiet = 0 if moved[1] else quiet + 1
            if quiet > 60 and given >= wanted:
                return
            yield {"o.ready": int(not pressed[cycle % len(pressed)])} | source.inputs(cycle, moved[0])
        raise TimeoutError(f"{given} of {wanted} bytes")

    trace_cycles(FrameTransmitter(), changes(drive()), ports, seen)
    for before, now in pairwise(seen):
        assert not before[2] or before[3] or (now[2], now[4]) == (1, before[4]), "an offer changed"
    assert source.count == len(items)
    return [(cycle, row[4]) for cycle, row in enumerate(seen) if row[2] and row[3]], [row[0] for row in seen].index(1)


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
    """From the cycle after the one that offers the first byte, and from frame to frame."""
    made, begin = transmitted(some_frames())
    assert [cycle for cycle, _ in made] == [*range(begin + 1, begin + 1 + len(made))]


def test_transmitter_does_not_wait_to_be_asked():
    """The first byte is offered and stays while nobody is ready, and no other is taken."""
    inputs = {"i.valid": 1, "i.payload.byte": ESC, "o.ready": 0}
    seen = trace_cycles(FrameTransmitter(), [inputs] + [{}] * 20, ["o.valid", "o.payload", "i.ready"])
    assert (seen[0][0], seen[0][2]) == (0, 0)
    assert seen[1:] == [(1, END, 0)] * 20


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
        taken = self.receiver.signature.members
        members = {name: taken[name] for name in ("frame", "damage", "address", "data", "release")}
        super().__init__({"content": self.transmitter.signature.members["i"]} | members)

    def elaborate(self, platform):
        m = Module()
        send, receive = self.parts
        m.submodules += [self.transmitter, send, receive, self.receiver]
        wiring.connect(m, wiring.flipped(self.content), self.transmitter.i)
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
    items, seen = content(frame), []

    def drive():
        yield {"frame.ready": 1, "damage.ready": 1}
        place, taken = 0, None
        for cycle in range(1, 40 * len(frame.encode()) + 100):
            place += seen[-1][0] and seen[-1][1]
            if seen[-1][2]:
                taken = cycle
            item = items[place] if place < len(items) else {"byte": 0, "last": 0}
            yield {
                "content.valid": int(place < len(items)),
                **{f"content.payload.{key}": value for key, value in item.items()},
                "address": cycle - taken if taken is not None and cycle < taken + 7 else 0,
            }

    ports = ["content.valid", "content.ready", "frame.valid", "frame.payload.kind", "frame.payload.length", "damage.valid", "data"]
    trace_cycles(Board(4, 16), changes(drive()), ports, seen)
    (offered,) = [cycle for cycle, row in enumerate(seen) if row[2]]
    assert seen[offered][3:5] == (END, 7) and not any(row[5] for row in seen)
    assert bytes(row[-1] for row in seen[offered + 1 + FrameReceiver.READ_LATENCY :][:7]) == frame.payload
