# amaranth: UnusedElaboratable=no
"""Frames that gateware receives against those in software, cycle by cycle where the cycles are promised."""

import random
import re
import zlib
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from organza.link import END, ESC, ESC_END, ESC_ESC, MOST, Damage, Decoder, Frame, Reason
from organza_hw.link.frames import FrameReceiver
from organza_sim.pysim import trace_cycles
from tests.organza_hw.link.shared import SPECIAL, changes
from tests.organza_hw.patterns import CROSSED, PATTERNS

LATENCY = 2  # from an END to what it ends
READ = FrameReceiver.READ_LATENCY
FRAME = ["frame.valid", "frame.ready", "frame.payload.kind", "frame.payload.sequence", "frame.payload.length"]
DAMAGE = ["damage.valid", "damage.ready", "damage.payload"]


def sent(wire, broken=()):
    """Bytes as a `UartReceiver` gives them."""
    return [(byte, place in broken) for place, byte in enumerate(wire)]


def raw(content, crc=None):
    """A packet with this content, whatever it is, and its check sum."""
    content += (zlib.crc32(content) if crc is None else crc).to_bytes(4, "little")
    return b"\xc0" + content.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def change(item):
    """What a cycle with or without a byte sets; without, there is noise that must not matter."""
    byte, broken = item or (END, True)
    return {"i.valid": int(item is not None), "i.payload.byte": byte, "i.payload.broken": int(broken)}


@dataclass
class Held:
    """A frame that came, the cycles that offered, took and released it, and the address asked for in each cycle."""

    kind: int
    sequence: int
    length: int
    offered: int
    taken: int | None = None
    released: int | None = None
    asked: dict[int, int] = field(default_factory=dict)
    frame: Frame | None = None


class Consumer:
    """Takes, reads and releases frames, and takes damages, when its pattern lets it.

    It reads from the cycle after a frame was first seen on, taken or not, a byte a cycle. With `hurry` it releases
    with the last byte or as soon as the frame is taken; without, much later, after it has read all bytes twice.
    """

    def __init__(self, receiver, *, pressure="never", hurry=True):
        self.receiver, self.stalls, self.hurry = receiver, PATTERNS[pressure], hurry
        self.held: list[Held] = []
        self.damages: list[tuple[int, int, Reason]] = []  # cycles that first offered and that took it, and why
        self.seen = []

    def play(self, bytes_in, cycles):
        """`bytes_in` has (byte, broken) or None for each cycle from the first on."""
        trace_cycles(self.receiver, changes(self._drive(bytes_in, cycles)), [*FRAME, *DAMAGE, "data"], self.seen)
        self._offers_stay()
        for held in self.held:
            assert held.released is not None and held.released + READ < cycles, "the simulation ended too early"
            self._read(held)
        self._take_damages()
        return self

    def _drive(self, bytes_in, cycles):
        for cycle in range(cycles):
            ready = [not self.stalls[number % len(self.stalls)] for number in (cycle, 3 * cycle + 1)]
            inputs = {"frame.ready": int(ready[0]), "damage.ready": int(ready[1])}
            inputs |= change(bytes_in[cycle] if cycle < len(bytes_in) else None)
            yield inputs | self._inputs(cycle)

    def _inputs(self, cycle):
        """`address` and `release`."""
        now = self.held[-1] if self.held else None
        if self.seen and self.seen[-1][0]:
            _, ready, kind, sequence, length, *_ = self.seen[-1]
            if now is None or now.released is not None:
                now = Held(kind, sequence, length, cycle - 1)
                self.held.append(now)
            if ready:
                now.taken = cycle - 1
        address = len(self.held) % self.receiver.most
        if now is None or now.released is not None:
            return {"address": address, "release": 0}
        looks = now.length * (1 if self.hurry else 2)
        if len(now.asked) < looks:
            address = now.asked[cycle] = len(now.asked) % now.length
        done = len(now.asked) == looks and now.taken is not None
        if done and (self.hurry or cycle > now.offered + 3 * now.length + 20):
            now.released = cycle
        return {"address": address, "release": int(now.released is not None)}

    def _read(self, held):
        values = [self.seen[cycle + READ][-1] for cycle in held.asked]
        payload = bytes(values[: held.length])
        assert self.hurry or payload == bytes(values[held.length :]), "the payload changed"
        held.frame = Frame(held.kind, held.sequence, payload)

    def _offers_stay(self):
        for before, now in pairwise(self.seen):
            for valid, ready, *payload in ((0, 1, 2, 3, 4), (5, 6, 7)):
                if before[valid] and not before[ready]:
                    assert now[valid] and [now[k] for k in payload] == [before[k] for k in payload], "an offer changed"

    def _take_damages(self):
        begin = None
        for cycle, (valid, ready, reason) in enumerate(row[5:8] for row in self.seen):
            if valid:
                begin = cycle if begin is None else begin
                if ready:
                    self.damages.append((begin, cycle, Reason(reason)))
                    begin = None
        assert begin is None, "the simulation ended too early"


def judged(packet, most):
    """What the software makes of a packet; it knows no broken bytes: the first of them ends what it can judge."""
    broken = [place for place, (_, flag) in enumerate(packet) if flag]
    octets = bytes(byte for byte, _ in packet[: broken[0] if broken else None])
    # A wrong escape in the place of the broken byte is what is found if nothing is wrong before it.
    (made,) = Decoder(most).feed(octets + (bytes([ESC, 0]) if broken else b"") + bytes([END]))
    wrong = any(first == ESC and second not in (ESC_END, ESC_ESC) for first, second in pairwise(octets))
    return Damage(Reason.LINE) if broken and made == Damage(Reason.ESCAPE) and not wrong else made


def check(consumer, bytes_in):
    """Frames and damages are those of the software, in the right cycles for when the consumer took and released."""
    frames, damages = list(consumer.held), list(consumer.damages)
    packet, first, released, free = [], 0, 0, 0
    for cycle, item in enumerate(bytes_in):
        if item is None:
            continue
        if item != (END, False):
            first = first if packet else cycle
            packet.append(item)
            continue
        if packet:
            made = Damage(Reason.BUSY) if first < released else judged(packet, consumer.receiver.most)
            if isinstance(made, Frame):
                held = frames.pop(0)
                assert (held.frame, held.offered) == (made, cycle + LATENCY)
                released = held.released
            elif cycle + LATENCY - 1 >= free:  # the one before was taken
                begin, free, reason = damages.pop(0)
                assert (begin, reason) == (cycle + LATENCY, made.reason)
        packet = []
    assert not frames and not damages


def received(items, most, *, idle="never", pressure="never", hurry=True):
    """A consumer that all these bytes were played to, and that was checked."""
    bytes_in, stalls = [], PATTERNS[idle]
    for item in items:
        while item is not None and stalls[len(bytes_in) % len(stalls)]:
            bytes_in.append(None)
        bytes_in.append(item)
    tail = 100 if pressure == "never" and hurry else 40 + 8 * most + 100
    consumer = Consumer(FrameReceiver(most), pressure=pressure, hurry=hurry).play(bytes_in, len(bytes_in) + tail)
    check(consumer, bytes_in)
    return consumer


def packet(rng, most):
    """A frame, or a packet with something wrong, or nothing, often with a pause behind it."""
    length = rng.choice([0, 1, most, rng.randint(0, most)])
    payload = rng.choice([rng.randbytes(length), bytes(rng.choices(SPECIAL, k=length))])
    frame = Frame(rng.randrange(256), rng.choice([rng.randrange(256), END, ESC]), payload)
    wire, body = frame.encode(), bytes([frame.kind, frame.sequence, *length.to_bytes(3, "little")]) + payload
    place, broken = rng.randrange(1, len(wire) - 1), set()
    match rng.randrange(16):
        case 0:
            wire = raw(body, crc=rng.getrandbits(32))
        case 1:
            wire = raw(body[:-1] if payload else body[:3])
        case 2:
            wire = raw(body + rng.randbytes(rng.choice([1, 1, 5, 8])))
        case 3:
            wire = wire[:place] + b"\xc0"
        case 4:
            wire = wire[:place] + rng.choice([b"\xdb\x00", b"\xdb\xdb", b"\xdb\xc0", b"\xdb"]) + wire[place:]
        case 5:
            big = rng.choice([most + 1, 2 * most + 300, 1 << 16, MOST])
            wire = raw(body[:2] + big.to_bytes(3, "little") + rng.randbytes(min(big, most + 3)))
        case 6:
            broken = {place, rng.randrange(len(wire))}
        case 7:
            wire = bytes(rng.choices([*SPECIAL[1:], 0, 1], k=rng.randrange(1, 40))) + b"\xc0"
        case 8:
            wire = b"\xc0" * rng.randrange(4)
        case 9:
            wire = wire[1:]  # the END of the packet before begins it too
    return sent(wire, broken) + [None] * rng.choice([0, 0, 3 * most, 4 * most + 60])


def packets(seed, most, count):
    rng = random.Random(seed)
    return [item for _ in range(count) for item in packet(rng, most)] + sent(b"\xc0")


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_receiver_with_stalls(idle, pressure):
    consumer = received(
        packets(idle + pressure, 12, 30), 12, idle=idle, pressure=pressure, hurry=len(idle + pressure) % 2 == 0
    )
    assert len(consumer.held) > 2 and len(consumer.damages) > 2


@pytest.mark.parametrize("most", [1, 2, 7, 32, 100])
def test_receiver_sees_every_reason(most):
    consumer = received(packets(most, most, 70), most)
    assert {reason for _, _, reason in consumer.damages} == set(Reason)
    assert {0, most} <= {held.length for held in consumer.held}


@pytest.mark.parametrize("payload", [b"", SPECIAL, bytes(range(256))])
def test_a_byte_a_cycle(payload):
    """One END between two frames is enough, and a frame that is released in time is not missed."""
    items = []
    for number in range(3):
        wire = Frame(number, 255 - number, payload).encode()
        items += sent(wire[1:] if number else wire) + [None] * (len(payload) + 5)
    consumer = received(items, 256)
    assert [held.frame for held in consumer.held] == [Frame(number, 255 - number, payload) for number in range(3)]
    assert not consumer.damages


def scripted(most, script, cycles):
    """Ports while each cycle of `script` changes inputs; valid and ready are what they were before."""
    receiver = FrameReceiver(most)
    inputs = [script.get(cycle, {}) for cycle in range(cycles)]
    return trace_cycles(receiver, inputs, [*FRAME, *DAMAGE, "data"])


def script_of(start, wire):
    """The bytes from cycle `start` on, and none after them."""
    made = {start + number: change(item) for number, item in enumerate(sent(wire))}
    return made | {start + len(wire): change(None)}


@pytest.mark.parametrize("escape, follows", [(ESC, ESC_END), (ESC, ESC_ESC), (ESC, END), (7, END), (7, ESC)])
def test_a_broken_byte_is_nothing_else(escape, follows):
    """It ends no packet and no escape."""
    wire = bytes([END, 1, escape, follows, 0, END])
    consumer = received(sent(wire, broken={3}) + sent(Frame(1, 2, b"x").encode()), 4)
    assert [reason for _, _, reason in consumer.damages] == [Reason.LINE] and len(consumer.held) == 1


@pytest.mark.parametrize("more, broken, reason", [
    (bytes([ESC, 0]), False, Reason.ESCAPE), (bytes([ESC]), False, Reason.ESCAPE), (b"\0", True, Reason.LINE),
    (bytes([END]), True, Reason.LINE), (b"\0", False, Reason.LENGTH), (bytes([ESC, ESC_END]), False, Reason.LENGTH),
])  # fmt: skip
@pytest.mark.parametrize("payload", [b"", b"abcd"])
def test_something_behind_the_check_sum(payload, more, broken, reason):
    """All of a frame is there, and right, and it is none."""
    wire = Frame(1, 2, payload).encode()
    changed = sent(wire[:-1] + more + wire[-1:], broken={len(wire) - 1} if broken else ())
    consumer = received(changed + [None] * 9 + sent(wire), 4)
    assert [found for _, _, found in consumer.damages] == [reason] and len(consumer.held) == 1


@pytest.mark.parametrize("early", [0, 1, 2])
def test_a_packet_that_begins_as_a_frame_is_released(early):
    """In the cycle of the release it is received, before it is lost, once, even if most of it comes later."""
    first, second = Frame(1, 1, b"one").encode(), Frame(2, 2, b"two").encode()
    release = 40
    script = script_of(0, first) | script_of(release - early, second[1:])
    script[0] |= {"frame.ready": 1, "damage.ready": 1}
    script.setdefault(release, {}).update(release=1)
    script.setdefault(release + 1, {}).update(release=0)
    seen = scripted(8, script, 80)
    end = release - early + len(second) - 2
    offers = [(cycle, row[2]) for cycle, row in enumerate(seen) if row[0]]
    damages = [(cycle, Reason(row[7])) for cycle, row in enumerate(seen) if row[5]]
    assert offers == [(len(first) - 1 + LATENCY, 1)] + ([] if early else [(end + LATENCY, 2)])
    assert damages == ([(end + LATENCY, Reason.BUSY)] if early else [])


@pytest.mark.parametrize("when", [-1, 0, 1])
def test_a_release_counts_from_the_cycle_that_takes_the_frame(when):
    """Before, it does nothing: the frame stays offered, and what comes is lost."""
    first, second = Frame(1, 1, b"one").encode(), Frame(2, 2, b"").encode()
    take = 30
    script = script_of(0, first) | script_of(40, second)
    script[take] = {"frame.ready": 1}
    script.setdefault(take + when, {}).update(release=1)
    script.setdefault(take + when + 1, {}).update(release=0)
    seen = scripted(8, script, 60)
    offered = [cycle for cycle, row in enumerate(seen) if row[0]]
    end = 40 + len(second) - 1 + LATENCY
    assert offered == [*range(len(first) - 1 + LATENCY, take + 1)] + ([end] if when >= 0 else [])
    assert [row[7] for row in seen if row[5]] == ([] if when >= 0 else [Reason.BUSY] * (60 - end))


def test_a_frame_stays_as_it_is():
    """Offered, and taken but not released, whatever comes; damages after the first are lost while that one waits."""
    frame = Frame(3, 4, bytes(range(200, 216)))
    first = frame.encode()
    rng = random.Random(5)
    noise = b"".join(Frame(9, 9, rng.randbytes(16)).encode() for _ in range(4)) + b"\xdb\xc0\x01\xc0"
    script = script_of(0, first) | script_of(len(first), noise)
    for cycle in range(len(first) + LATENCY, len(first) + 200):
        script.setdefault(cycle, {}).update({"address": cycle % 16, "frame.ready": int(cycle == 100)})
    seen = scripted(16, script, len(first) + 200)
    for cycle in range(len(first) + LATENCY, len(first) + 200):
        assert seen[cycle][0] == (cycle <= 100)
        if cycle <= 100:
            assert seen[cycle][2:5] == (3, 4, 16)
        if cycle >= len(first) + LATENCY + READ:
            assert seen[cycle][-1] == frame.payload[(cycle - READ) % 16]
    damages = [cycle for cycle, row in enumerate(seen) if row[5]]
    assert damages == [*range(damages[0], len(seen))] and {row[7] for row in seen if row[5]} == {Reason.BUSY}


@pytest.mark.parametrize("most", [1, 128, 200])
def test_a_text_beside_the_payload(most):
    """It is read like a payload, whatever is kept, and nothing that comes changes it."""
    text = bytes(range(100, 180))
    receiver = FrameReceiver(most, text)
    assert receiver.text_at == (256 if most > 128 else 128)
    wire = Frame(1, 2, bytes(most)).encode() + Frame(1, 2, bytes(receiver.text_at + 9)).encode()
    script = script_of(0, wire)
    for cycle in range(len(wire) + len(text)):
        script.setdefault(cycle, {})["address"] = receiver.text_at + cycle % len(text)
    seen = trace_cycles(receiver, [script.get(cycle, {}) for cycle in range(len(wire) + len(text) + READ)], ["data"])
    assert [byte for byte, in seen[READ:]] == [text[cycle % len(text)] for cycle in range(len(wire) + len(text))]


@pytest.mark.parametrize("most, lengths", [
    (259, (260, 511, 512, 1 << 16, 1 << 23)), (255, (256, 1 << 16)), (0x1_1234, (0x1_1235, 0x2_0000, 0x80_0000)),
])  # fmt: skip
def test_lengths(most, lengths):
    """What is too long is that with the last byte of its length, and the longest payload is not; nothing else is looked at."""
    fits = bytes([END, 1, 2, *(most & 0xFFFF).to_bytes(3, "little"), 0, END])
    wires = [bytes([END, 1, 2, *length.to_bytes(3, "little"), 0, END]) for length in lengths]
    receiver = FrameReceiver(most)
    script = script_of(0, b"".join([fits, *wires]))
    script[0] |= {"damage.ready": 1}
    seen = trace_cycles(receiver, [script.get(cycle, {}) for cycle in range(8 * (1 + len(wires)) + 9)], DAMAGE)
    assert [row[2] for row in seen if row[0]] == [Reason.LENGTH] + [Reason.TOO_LONG] * len(lengths)


@pytest.mark.parametrize("most, kind, message", [
    (0, ValueError, f"FrameReceiver most must be between 1 and {MOST}, not 0"),
    (MOST + 1, ValueError, f"FrameReceiver most must be between 1 and {MOST}, not {MOST + 1}"),
    (8.0, TypeError, "FrameReceiver most must be an integer, not 8.0"),
])  # fmt: skip
def test_wrong_most(most, kind, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        FrameReceiver(most)
