# amaranth: UnusedElaboratable=no
"""Words to beats and beats to words against the bytes of the serial line, whatever stalls."""

import math
import re

import numpy as np
import pytest
from amaranth.hdl import Shape

from organza.formats import Fixed, Flex, Sign
from organza.host_protocol import tensor_bytes
from organza_hw.axi.stream import BeatReader, BeatWriter, Framing
from organza_hw.formats import wire_shape
from tests.organza_hw.link.test_beat_bytes import cases, stream
from tests.organza_hw.patterns import CROSSED, PATTERNS

FORMS = [Fixed(8, True, 1 / 32), Fixed(5, False, 1.0), Flex(-12), Fixed(12, True, 1.0), Fixed(1, False, 1.0)]
SHAPES = [(1, 1, 1), (5, 2, 3), (3, 4, 1), (8, 1, 2), (7, 1, 5)]


def axis_words(framing, frame):
    """A frame as words of data, keep, last; and as words of narrow integers."""
    size, wide = framing.word_bytes, 8 * framing.element_bytes
    made, narrow = [], []
    for k in range(framing.words):
        octets = frame[k * size : (k + 1) * size]
        data, last = int.from_bytes(octets, "little"), k == framing.words - 1
        made.append(data | ((1 << len(octets)) - 1) << 8 * size | last << 9 * size)
        elements = [data >> wide * j & ((1 << framing.element.width) - 1) for j in range(framing.word_elements)]
        narrow.append(sum(element << framing.element.width * j for j, element in enumerate(elements)))
    return made, narrow


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_and_back(form, shape):
    for k, n in enumerate((1, 2, 3, 4, 8)):
        framing = Framing(shape, wire_shape(form), n)
        octets, beats = cases(form, shape, n)
        half = len(octets) // 2
        made, narrow = (sum(parts, []) for parts in zip(*(axis_words(framing, bytes(f)) for f in (octets[:half], octets[half:])), strict=True))
        idle, pressure = (np.array(PATTERNS[name], bool) for name in CROSSED[(k * 5 + len(octets)) % len(CROSSED)])
        assert [beat for beat, in stream(BeatReader(framing), narrow, len(beats), idle, pressure)] == beats
        assert [word for word, in stream(BeatWriter(framing), beats, len(made), idle, pressure)] == made


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_patterns(idle, pressure):
    """Beats of three in words of four: where one begins is another place every time."""
    form, shape, n = Fixed(8, True, 1.0), (7, 2, 3), 3
    framing = Framing(shape, wire_shape(form), n)
    octets, beats = cases(form, shape, n)
    half = len(octets) // 2
    made, narrow = (sum(parts, []) for parts in zip(*(axis_words(framing, bytes(f)) for f in (octets[:half], octets[half:])), strict=True))
    stalls = [np.array(PATTERNS[name], bool) for name in (idle, pressure)]
    assert [beat for beat, in stream(BeatReader(framing), narrow, len(beats), *stalls)] == beats
    assert [word for word, in stream(BeatWriter(framing), beats, len(made), *stalls)] == made


@pytest.mark.parametrize("shape, n", [((6, 4, 4), 3), ((8, 4, 2), 8), ((5, 4, 4), 5), ((7, 8, 1), 3)])
def test_a_beat_a_cycle(shape, n):
    """And for a frame whose last beat is in two words a cycle more."""
    form, free = Fixed(8, True, 1.0), np.zeros(1, bool)
    framing = Framing(shape, wire_shape(form), n)
    octets, beats = cases(form, shape, n)
    half = len(octets) // 2
    made, narrow = (sum(parts, []) for parts in zip(*(axis_words(framing, bytes(f)) for f in (octets[:half], octets[half:])), strict=True))
    fill = math.ceil(n / framing.word_elements)  # words before the first beat
    stream(BeatReader(framing), narrow, len(beats), free, free, watchdog=len(beats) + fill + 2)
    (rest,) = {half - (len(beats) // 2 - 1) * n} if framing.groups == 1 else {framing.rest}
    split = (half - rest) % framing.word_elements + rest > framing.word_elements
    stream(BeatWriter(framing), beats, len(made), free, free, watchdog=len(beats) + 1 + 2 * split)


def test_signs_and_bytes():
    """Integers are extended to whole bytes as the serial line has them."""
    form, shape = Sign(1.0), (3, 1, 1)
    framing = Framing(shape, wire_shape(form), 2)
    x = np.array([1, -1, -1]).reshape(1, *shape)
    bits = form.to_wire(x).ravel().tolist()
    beats = [bits[0] & 1 | (bits[1] & 1) << 1, bits[2] & 1 | 1 << 2]
    free = np.zeros(1, bool)
    wanted, _ = axis_words(framing, tensor_bytes(x[0], form))
    assert [word for word, in stream(BeatWriter(framing), beats, 2, free, free)] == wanted


def test_wide_beats():
    assert Framing((128, 1, 1), Shape(8), 128).word_bytes == 128
    with pytest.raises(ValueError, match=f"^{re.escape('Beats of an AXI stream must have at most 128 bytes, not 130')}$"):
        Framing((65, 1, 1), Shape(16), 65)
