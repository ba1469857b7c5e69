# amaranth: UnusedElaboratable=no
"""Images that come byte by byte, whole or not, right or not."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.weight_image import (
    CRC_BYTES,
    HEADER_BYTES,
    LENGTH_BYTES,
    MAGIC,
    PARTS,
    SHAPE_BYTES,
    Reason,
    header,
    wrapped,
)
from organza_hw.loading.loader import WeightLoader, word_bytes
from organza_sim.pysim import trace_cycles
from tests.organza_hw.patterns import PATTERNS

SHAPE = bytes(range(1, 1 + SHAPE_BYTES))
MEMORIES = [(1, 1), (17, 3), (8, 5), (130, 2), (9, 1)]
PORTS = ["write", "address", "loaded", "refusal", "image", "i.ready"]


class Seen:
    """What a loader did with bytes, each with `first`; None: no byte in this cycle. Each is taken, and none in the cycle behind."""

    def __init__(self, taken, memories=MEMORIES):
        loader = WeightLoader(SHAPE, memories)
        names = [f"word{k}" for k in range(len(memories))]
        for name, word in zip(names, loader.words, strict=True):
            setattr(loader, name, word)
        noise = np.random.default_rng(0)
        inputs = [
            {"i.valid": item is not None, "i.payload.byte": item[0] if item else int(noise.integers(256)),
             "i.payload.first": item[1] if item else int(noise.integers(2))}
            for item in [*taken, *[None] * (WeightLoader.VERDICT + 1)]
        ]  # fmt: skip
        seen = trace_cycles(loader, inputs, [*PORTS, *names])
        before = [None, *taken]
        assert [row[5] for row in seen[: len(before)]] == [item is None for item in before]
        self.loaded, self.refusal, self.image = ([row[k] for row in seen] for k in (2, 3, 4))
        self.writes = []
        for cycle, row in enumerate(seen):
            assert row[0].bit_count() <= 1
            if row[0]:
                number = row[0].bit_length() - 1
                self.writes.append((cycle, number, row[1], row[len(PORTS) + number]))

    @property
    def end(self):
        return self.loaded[-1], self.refusal[-1]

    def memories(self, memories=MEMORIES):
        """What is in them."""
        made = [[None] * depth for _, depth in memories]
        for _, number, address, word in self.writes:
            made[number][address] = word
        return made


def words_of(seed, memories=MEMORIES):
    rng = np.random.default_rng(seed)
    return [[int.from_bytes(rng.bytes(20), "little") % (1 << width) for _ in range(depth)] for width, depth in memories]


def image_of(words, memories=MEMORIES):
    octets = (word.to_bytes(word_bytes(width), "little") for (width, _), some in zip(memories, words, strict=True) for word in some)
    return wrapped(SHAPE, b"".join(octets))


def sent(image):
    return [item for place, byte in enumerate(image) for item in ((byte, int(not place)), None)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_words_and_when(pattern):
    """A byte every other cycle, if there is one; each word behind its last byte."""
    idle, words = PATTERNS[pattern], words_of(1)
    image, taken, cycles = image_of(words), [], []
    for item in sent(image)[:: WeightLoader.PERIOD]:
        while idle[len(taken) % len(idle)]:
            taken.append(None)
        cycles.append(len(taken))
        taken += [item, None]
    seen = Seen(taken)
    assert seen.memories() == words and seen.end == (1, 0)
    place, wanted = HEADER_BYTES, []
    for number, (width, depth) in enumerate(MEMORIES):
        for address in range(depth):
            place += word_bytes(width)
            wanted.append((cycles[place - 1] + WeightLoader.LATENCY, number, address, words[number][address]))
    assert seen.writes == wanted
    done = seen.loaded.index(1)
    assert done == cycles[-1] + WeightLoader.VERDICT
    assert seen.image[done] == zlib.crc32(image[:-CRC_BYTES])


@pytest.mark.parametrize("memories", [[(1, 1)], [(8, 1)], [(32, 2)], [(40, 1)], [(3, 4), (3, 4)]])
def test_few_memories(memories):
    words = words_of(2, memories)
    seen = Seen(sent(image_of(words, memories)), memories)
    assert seen.memories(memories) == words and seen.end == (1, 0)


@pytest.mark.parametrize("place", range(HEADER_BYTES))
def test_every_byte_of_the_header(place):
    """Refused as soon as the byte is there; nothing is written."""
    image = bytearray(image_of(words_of(3)))
    image[place] ^= 1 << place % 8
    image[-CRC_BYTES:] = zlib.crc32(image[:-CRC_BYTES]).to_bytes(CRC_BYTES, "little")
    seen = Seen(sent(image))
    reasons = [reason for reason, size in PARTS for _ in range(size)]
    assert seen.end == (0, reasons[place]) and not seen.writes
    assert seen.refusal.index(reasons[place]) == WeightLoader.PERIOD * place + WeightLoader.VERDICT


@settings(max_examples=25, deadline=None)
@given(st.integers(HEADER_BYTES, len(image_of(words_of(3))) - 1), st.integers(0, 7))
def test_every_flipped_bit(place, bit):
    image = bytearray(image_of(words_of(3)))
    image[place] ^= 1 << bit
    seen = Seen(sent(image))
    assert seen.end == (0, Reason.CRC)
    assert len(seen.writes) == sum(depth for _, depth in MEMORIES)


def test_reasons_have_names():
    right = header(SHAPE, 9)
    assert [size for _, size in PARTS] == [len(MAGIC), 1, SHAPE_BYTES, LENGTH_BYTES] and len(right) == HEADER_BYTES
    assert len({reason.text for reason in Reason}) == len(Reason)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, len(image_of(words_of(4)))), st.integers(0, 3))
def test_an_image_in_the_middle_of_another(place, more):
    """What was there before counts for nothing as soon as an image begins; the next one does."""
    first, second, third = words_of(4), words_of(5), words_of(6)
    whole = sent(image_of(first))
    pause = [None] * (WeightLoader.VERDICT + 1)
    seen = Seen([*whole, *pause, *sent(image_of(second)[:place]), *[None] * more, *sent(image_of(third))])
    assert seen.memories() == third and seen.end == (1, 0)
    begins = len(whole) + len(pause)
    assert seen.loaded[begins + 1] == 1 and seen.loaded[begins + 2] == 0
    assert 1 not in seen.loaded[begins + 2 : -WeightLoader.VERDICT - 1]


def test_a_refused_image_and_a_good_one():
    """The reason stays until another image begins, and what is behind a refused one is not looked at."""
    words, bad = words_of(7), bytearray(image_of(words_of(8)))
    bad[2] ^= 255
    seen = Seen([*sent(bad), *[None] * 5, *sent(image_of(words)), (1, 0), None, (79, 0)])
    assert seen.end == (1, 0) and seen.memories() == words
    begins = len(sent(bad)) + 5
    assert set(seen.refusal[7 : begins + 2]) == {Reason.MAGIC} and set(seen.refusal[begins + 2 :]) == {0}


def test_bytes_of_no_image():
    """Nothing happens without a first byte."""
    seen = Seen([item and (item[0], 0) for item in sent(image_of(words_of(9)))])
    assert seen.end == (0, 0) and not seen.writes


def test_a_byte_that_waits():
    """One that is offered all the time is taken every other cycle."""
    loader = WeightLoader(SHAPE, MEMORIES)
    seen = trace_cycles(loader, [{"i.valid": 1, "i.payload.byte": MAGIC[0], "i.payload.first": 1}] + 9 * [{}], ["i.ready"])
    assert [ready for ready, in seen] == 5 * [1, 0]


def test_no_memories():
    with pytest.raises(ValueError, match=r"^WeightLoader must have memories$"):
        WeightLoader(SHAPE, [])
