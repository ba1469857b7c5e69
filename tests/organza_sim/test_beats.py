import re

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from hypothesis import given
from hypothesis import strategies as st

from organza_sim import beats as beats_module
from organza_sim.beats import Beat, from_beats, last_flags, to_beats


def exactly(message):
    return f"^{re.escape(message)}$"


def random_beats(beat, count, seed=0):
    low, high = beat.limits
    return np.random.default_rng(seed).integers(low, high, (count, beat.n), endpoint=True)


def test_raster_order_and_padding():
    x = np.arange(1, 1 + 2 * 3 * 1 * 2).reshape(2, 3, 1, 2)
    beats, last = to_beats(x, 2)
    # Two images of one row, two pixels, three channels: two beats a pixel, the second half empty.
    assert beats.tolist() == [[1, 3], [5, 0], [2, 4], [6, 0], [7, 9], [11, 0], [8, 10], [12, 0]]
    assert last.tolist() == [False, False, False, True] * 2


@given(st.tuples(*[st.integers(1, 4)] * 4), st.integers(1, 9))
def test_round_trip(shape, n):
    x = np.random.default_rng(0).integers(-100, 100, shape)
    beats, last = to_beats(x, n)
    assert beats.shape == (shape[0] * shape[2] * shape[3] * -(-shape[1] // n), n)
    assert last.sum() == shape[0] and last[-1]
    assert np.array_equal(from_beats(beats, *shape[1:]), x)


def test_from_beats_refuses_what_is_not_images():
    beats, _ = to_beats(np.ones((1, 3, 2, 2), int), 2)
    with pytest.raises(
        ValueError, match=exactly("Beats must be whole images of 8 beats, not 7 beats")
    ):
        from_beats(beats[:-1], 3, 2, 2)
    beats[3, 1] = 1
    with pytest.raises(ValueError, match="^Channels from 3 on must be zero padding"):
        from_beats(beats, 3, 2, 2)


def test_payload_bits():
    words = Beat(3, 4, True).pack(np.array([[1, -1, 7]]), np.array([True]))
    assert words.tolist() == [[0b1_0111_1111_0001]]
    words = Beat(4, 8, False).pack(np.array([[1, 2, 3, 255]]), np.array([True]))
    assert words.tolist() == [[0xFF030201, 1]]


@given(st.integers(1, 40), st.sampled_from([1, 2, 3, 7, 8, 9, 16, 31, 32, 33, 62]), st.booleans())
def test_pack_is_the_integer_it_says(n, width, signed):
    beat = Beat(n, width, signed)
    beats, last = random_beats(beat, 5), np.array([0, 1, 0, 0, 1], bool)
    words = beat.pack(beats, last)
    assert words.shape == (5, beat.words)
    for row, flag, packed in zip(beats.tolist(), last.tolist(), words, strict=True):
        value = sum((v % (1 << width)) << (k * width) for k, v in enumerate(row))
        assert int.from_bytes(packed.tobytes(), "little") == value | flag << (n * width)
    back, flags = beat.unpack(words)
    assert np.array_equal(back, beats) and np.array_equal(flags, last)


@pytest.mark.parametrize("width", [5, 8])
def test_long_runs_are_packed_in_chunks(monkeypatch, width):
    monkeypatch.setattr(beats_module, "CHUNK_BITS", 1000)
    beat = Beat(3, width, True)
    beats, last = random_beats(beat, 999), last_flags(9, 111)
    back, flags = beat.unpack(beat.pack(beats, last))
    assert np.array_equal(back, beats) and np.array_equal(flags, last)


def test_beat_of_shape():
    assert Beat.of(signed(8), 4) == Beat(4, 8, True)
    assert Beat.of(unsigned(1), 4) == Beat(4, 1, False)
    assert Beat(4, 8, True).bits == 33


@pytest.mark.parametrize("value", [128, -129])
def test_values_that_do_not_fit(value):
    with pytest.raises(
        ValueError, match=f"^Beats must be from -128 to 127, not from {value} to {value}$"
    ):
        Beat(1, 8, True).pack(np.array([[value]]), np.array([False]))


def test_wrong_arguments():
    flag = np.array([False])
    with pytest.raises(TypeError, match=exactly("Beats must be integers, not float64")):
        Beat(1, 8, True).pack(np.zeros((1, 1)), flag)
    with pytest.raises(ValueError, match=exactly("Beats must have shape (B, 2), not (1, 1)")):
        Beat(2, 8, True).pack(np.zeros((1, 1), int), flag)
    with pytest.raises(ValueError, match=exactly("Last flags must have shape (2,), not (1,)")):
        Beat(1, 8, True).pack(np.zeros((2, 1), int), flag)
    with pytest.raises(TypeError, match=exactly("Channels per beat must be an integer, not True")):
        Beat(True, 8, True)
    with pytest.raises(ValueError, match=exactly("Channels per beat must be positive, not 0")):
        to_beats(np.zeros((1, 1, 1, 1), int), 0)
    with pytest.raises(ValueError, match=exactly("Channel width must be at most 62 bits, not 63")):
        Beat(1, 63, True)
    with pytest.raises(
        ValueError, match=exactly("Images must have four dimensions (N, C, H, W), not (3,)")
    ):
        to_beats(np.zeros(3, int), 1)
