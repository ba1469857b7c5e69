"""Run lengths: without loss, any stream of fields, and no garbage from a damaged one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.codes import Linear, RunLength, Ternary
from organza.codes.rle import expand_runs, pair_runs

sparse = st.lists(st.integers(0, 9).map(lambda v: max(v - 6, 0)), min_size=1, max_size=150)
plateaus = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=8).map(
    lambda parts: [value for value, times in parts for _ in range(times)]
)
fields = st.one_of(sparse, plateaus).map(np.array)


def naive(runs, values):
    """Zeros and a value, pair after pair."""
    made = []
    for run, value in zip(runs.tolist(), values.tolist(), strict=True):
        made += [0] * run + [value]
    return made


@given(fields, st.integers(1, 8))
def test_runs(some, bits):
    runs, values = pair_runs(some, bits)
    assert runs.min() >= 0 and runs.max() < 1 << bits
    assert naive(runs, values) == some.tolist()
    np.testing.assert_array_equal(expand_runs(runs, values, len(some)), some)
    # No pair could have been saved: a zero value only behind the longest run, or at the end.
    assert all(run == (1 << bits) - 1 for run in runs[:-1][values[:-1] == 0])
    for wrong in (len(some) - 1, len(some) + 1):
        with pytest.raises(ValueError, match=f"^Runs must make {wrong} fields, not {len(some)}$"):
            expand_runs(runs, values, wrong)


@given(fields, st.integers(1, 8))
def test_runs_are_those_of_pytorch(some, bits):
    """`torch.unique_consecutive` encodes runs of every value; ours are its runs of zeros, cut at the longest."""
    longest = (1 << bits) - 1
    wanted, zeros = [], 0
    for value, times in zip(*(part.tolist() for part in torch.unique_consecutive(torch.from_numpy(some), return_counts=True)), strict=True):
        if value == 0:
            fillers, zeros = divmod(times, longest + 1)
            wanted += [(longest, 0)] * fillers
        else:
            wanted += [(zeros, value)] + [(0, value)] * (times - 1)
            zeros = 0
    if zeros:
        wanted.append((zeros - 1, 0))  # the last zero is a value
    runs, values = pair_runs(some, bits)
    assert list(zip(runs.tolist(), values.tolist(), strict=True)) == wanted


@given(fields, st.integers(1, 8), st.integers(2, 16), st.data())
def test_streams(some, run_bits, bits, data):
    code = RunLength(Linear(np.minimum(some, 1).reshape(-1, 1, 1, 1), bits), run_bits)
    stream = code.stream(1, 1, 1)
    count = len(some)
    np.testing.assert_array_equal(code.decode(stream, count), code.fields().ravel())
    assert stream.word_bits > code.pair_bits
    assert stream.bits % code.pair_bits == 0 and code.stored_bits == stream.stored_bits
    damaged = stream.words.copy()
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, stream.word_bits - 1))
    with pytest.raises(ValueError, match="^Stream does not match its check sum$"):
        code.decode(replace(stream, words=damaged), count)
    with pytest.raises(ValueError, match="^Stream is too short: "):
        code.decode(replace(stream, words=stream.words[:-1]), count)
    with pytest.raises(ValueError, match="^Runs must make "):
        code.decode(stream, count + 1)
    with pytest.raises(ValueError, match="^Stream (must be pairs of|is too long)"):
        code.decode(replace(stream, bits=stream.bits - 1), count)


def test_sparse_weights_get_smaller():
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (32, 32, 4, 4)) * (rng.random((32, 32, 4, 4)) < 0.1)
    code = RunLength(Linear(weights))
    assert code.stored_bits < 0.2 * code.inner.stored_bits
    assert code.buffer_bits(4, 8, 1) == code.inner.buffer_bits(4, 8, 1) == code.inner.stored_bits


def test_wrong_codes():
    inner = Ternary(np.ones((4, 1, 1, 1), int))
    for make, kind, message in (
        (lambda: RunLength(RunLength(inner)), ValueError, "^rle must be around one of linear, .*, not 'rle'$"),
        (lambda: RunLength(None), TypeError, "^rle must be around a code, not None$"),
        (lambda: RunLength(inner, 9), ValueError, "^rle run_bits must be between 1 and 8, not 9$"),
        (lambda: RunLength(inner, True), TypeError, "^rle run_bits must be an integer, not True$"),
    ):
        with pytest.raises(kind, match=message):
            make()
