"""Frames of the serial link in software, against a reader that goes byte by byte."""

import random
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.link import END, ESC, ESC_END, ESC_ESC, MOST, Damage, Decoder, Frame, Reason

SPECIAL = bytes([END, ESC, ESC_END, ESC_ESC])
octets = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from([*SPECIAL, 0, 1, 3]), max_size=40).map(bytes))
frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), octets)
EXAMPLES = [
    Frame(0, 0), Frame(END, ESC, SPECIAL), Frame(7, 255, b"x"), Frame(1, 2, bytes(range(256))),
    Frame(ESC_END, ESC_ESC, SPECIAL * 9),
]  # fmt: skip


def unslip(packet):
    """What RFC 1055 makes of the bytes between two ENDs, byte by byte."""
    content, rest = [], iter(packet)
    for octet in rest:
        content.append({0xDC: 0xC0, 0xDD: 0xDB}[next(rest)] if octet == 0xDB else octet)
    return bytes(content)


def read(wire, most):
    """Frames and damages by the definition: one byte at a time, and the first thing that is wrong counts."""
    made, content, escaped, begun, reason = [], [], False, False, None
    for octet in wire:
        if octet == 0xC0:
            if escaped:
                reason = reason or Reason.ESCAPE
            if begun and not reason:
                whole = len(content) >= 5 and len(content) == 9 + int.from_bytes(content[2:5], "little")
                right = whole and zlib.crc32(bytes(content[:-4])).to_bytes(4, "little") == bytes(content[-4:])
                reason = (None if right else Reason.CRC) if whole else Reason.LENGTH
            if begun:
                made.append(Damage(reason) if reason else Frame(content[0], content[1], bytes(content[5:-4])))
            content, escaped, begun, reason = [], False, False, None
            continue
        begun = True
        if octet == 0xDB and not escaped:
            escaped = True
            continue
        if escaped:
            if octet not in (0xDC, 0xDD):
                reason = reason or Reason.ESCAPE
            octet, escaped = {0xDC: 0xC0}.get(octet, 0xDB), False
        content.append(octet)
        length = int.from_bytes(content[2:5], "little")
        if len(content) == 5 and length > most:
            reason = reason or Reason.TOO_LONG
        if len(content) > max(5, 9 + length):
            reason = reason or Reason.LENGTH
    return made


def fed(wire, most=300, piece=None):
    decoder, piece = Decoder(most), piece or len(wire) or 1
    return [made for start in range(0, len(wire), piece) for made in decoder.feed(wire[start : start + piece])]


def test_an_example():
    """The check sum was worked out bit by bit, with the polynomial 0xEDB88320."""
    assert Frame(1, 2, b"\xc0\xdb\xdc").encode().hex(" ") == "c0 01 02 03 00 00 db dc db dd dc 1b a8 85 c4 c0"


@given(frames)
def test_the_wire(frame):
    wire = frame.encode()
    assert wire[0] == wire[-1] == END and END not in wire[1:-1]
    content = unslip(wire[1:-1])
    assert content[:5] == bytes([frame.kind, frame.sequence]) + len(frame.payload).to_bytes(3, "little")
    assert content[5:-4] == frame.payload
    assert int.from_bytes(content[-4:], "little") == zlib.crc32(content[:-4])


@given(st.lists(frames, max_size=4), st.integers(1, 50), st.integers(0, 3))
def test_round_trip(sent, piece, ends):
    """In pieces of any size, with an END between frames or more."""
    wire = b"".join(frame.encode() + bytes([END]) * ends for frame in sent)
    assert fed(wire, piece=piece) == sent
    assert fed(wire.replace(bytes([END, END]), bytes([END]))) == sent


@given(octets, octets, frames, st.integers(1, 50))
def test_noise(before, between, frame, piece):
    """No bytes raise, and a frame is received whatever was before it."""
    wire = before + frame.encode() + between + frame.encode()
    made = fed(wire, piece=piece)
    assert made == read(wire, 300)
    assert made.count(frame) >= 1 and made[-1] == frame


@pytest.mark.parametrize("most", [0, 1, 20])
def test_damage_is_what_is_found_first(most):
    """Frames with all kinds of things done to them, and noise that may be longer than any frame."""
    rng, seen = random.Random(most), set()
    for _ in range(1500):
        content = bytearray(Frame(rng.randrange(256), 0, rng.randbytes(rng.randrange(most + 3))).encode())
        for _ in range(rng.randrange(3)):
            place = rng.randrange(len(content) + 1)
            content[place : place + rng.randrange(2)] = rng.choice([b"", b"\xdb", b"\0", b"\xdb\xdc", rng.randbytes(2)])
        content += bytes(rng.choices([*SPECIAL[1:], 0, 1], k=rng.choice([0, 0, 1, 8 * most + 60]))) + bytes([END])
        made = fed(bytes(content), most, rng.randrange(1, 60))
        assert made == read(content, most)
        seen |= {item.reason if isinstance(item, Damage) else None for item in made}
    assert seen == {None, Reason.CRC, Reason.LENGTH, Reason.ESCAPE, Reason.TOO_LONG}


@pytest.mark.parametrize("content, reason", [
    ("01", Reason.LENGTH), ("01 02 01 00 00", Reason.LENGTH), ("01 02 00 00 00 00 00 00", Reason.LENGTH),
    ("01 02 00 00 00 00 00 00 00", Reason.CRC), ("01 02 00 00 00 00 00 00 00 00", Reason.LENGTH), ("db", Reason.ESCAPE),
    ("01 db 02", Reason.ESCAPE), ("db db dc", Reason.ESCAPE), ("01 02 09 00 00", Reason.TOO_LONG),
    ("01 02 00 00 01 db", Reason.TOO_LONG),
])  # fmt: skip
def test_reasons(content, reason):
    wire = bytes.fromhex(content) + bytes([END])
    assert fed(wire, most=8) == [Damage(reason)] == read(wire, 8)


def test_longest_payload():
    for length, made in ((20, Frame(1, 1, bytes(20))), (21, Damage(Reason.TOO_LONG))):
        assert fed(Frame(1, 1, bytes(length)).encode(), most=20) == [made]
    longest = Frame(1, 1, SPECIAL * (MOST // 4))
    assert fed(longest.encode(), most=MOST) == [longest]


@pytest.mark.parametrize("frame", EXAMPLES, ids=range(len(EXAMPLES)))
def test_one_error_never_makes_a_wrong_frame(frame):
    """Every bit inverted, every byte lost, twice or another: this frame or none, and always the next."""
    wire, following = frame.encode(), Frame(9, 9, b"next")
    changed = [wire[:k] + bytes([wire[k] ^ 1 << bit]) + wire[k + 1 :] for k in range(len(wire)) for bit in range(8)]
    changed += [wire[:k] + wire[k + 1 :] for k in range(len(wire))]
    changed += [wire[:k] + wire[k : k + 1] + wire[k:] for k in range(len(wire))]
    changed += [wire[:k] + SPECIAL[j : j + 1] + wire[k + 1 :] for k in range(len(wire)) for j in range(4)]
    for damaged in changed:
        *made, last = fed(damaged + following.encode())
        assert last == following
        assert [item for item in made if isinstance(item, Frame)] in ([], [frame]), damaged.hex(" ")
        assert made


def test_a_decoder_does_not_grow():
    """Bytes without an END, over and over: what is kept is bounded, and says the same in the end."""
    decoder = Decoder(8)
    for _ in range(100):
        assert decoder.feed(bytes(10_000)) == []
        assert sum(len(value) for value in vars(decoder).values() if isinstance(value, bytearray)) < 64
    assert decoder.feed(bytes([END])) == [Damage(Reason.LENGTH)]


@pytest.mark.parametrize("call, kind, message", [
    (lambda: Frame(256, 0), ValueError, "Frame kind must be between 0 and 255, not 256"),
    (lambda: Frame(0, -1), ValueError, "Frame sequence must be between 0 and 255, not -1"),
    (lambda: Frame("a", 0), TypeError, "Frame kind must be an integer, not 'a'"),
    (lambda: Frame(0, True), TypeError, "Frame sequence must be an integer, not True"),
    (lambda: Frame(0, 0, "text"), TypeError, "Frame payload must be bytes, not str"),
    (lambda: Frame(0, 0, bytes(MOST + 1)), ValueError, f"Frame payload must be at most {MOST} bytes, not {MOST + 1}"),
    (lambda: Decoder(-1), ValueError, f"Decoder most must be between 0 and {MOST}, not -1"),
    (lambda: Decoder(2.0), TypeError, "Decoder most must be an integer, not 2.0"),
])  # fmt: skip
def test_wrong_arguments(call, kind, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        call()
