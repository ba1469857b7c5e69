"""Run-length coded joints in software, against itertools.groupby."""

import re
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.run_length import BLOCK, RUN_BITS, Token, block_sizes, coded_bits, lane_tokens, lane_values


def grouped(values, row_beats):
    """Tokens by another way: runs of equal zero-ness in every block."""
    made = []
    for row in np.reshape(values, (-1, row_beats)).tolist():
        for start in range(0, row_beats, BLOCK):
            for zero, run in groupby(row[start : start + BLOCK], key=lambda value: value == 0):
                run = list(run)
                made += [Token(True, len(run) - 1)] if zero else [Token(False, value) for value in run]
    return made


@given(st.integers(1, 11), st.integers(1, 3), st.data())
def test_tokens(row_beats, rows, data):
    few = st.integers(-2, 2).map(lambda value: max(value, 0))
    values = np.array(data.draw(st.lists(few, min_size=rows * row_beats, max_size=rows * row_beats)))
    tokens = lane_tokens(values, row_beats)
    assert tokens == grouped(values, row_beats)
    assert np.array_equal(lane_values(tokens), values)
    assert all(token.value < 1 << RUN_BITS for token in tokens if token.run)
    assert sum(block_sizes(row_beats)) == row_beats


@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_bits(row_beats, n, seed):
    beats = np.random.default_rng(seed).integers(0, 3, (2 * row_beats, n))
    tokens = [token for lane in range(n) for token in lane_tokens(beats[:, lane], row_beats)]
    assert coded_bits(beats, row_beats, 8) == sum(1 + (RUN_BITS if token.run else 8) for token in tokens)


def test_an_example():
    values = np.array([0, 0, 7, 0, 0, 0, 5, -1, 0, 0])
    assert lane_tokens(values, 5) == [
        Token(True, 1), Token(False, 7), Token(True, 0), Token(True, 0),
        Token(True, 0), Token(False, 5), Token(False, -1), Token(True, 0), Token(True, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("count, row_beats", [(5, 4), (3, 0)])
def test_parts_of_rows(count, row_beats):
    for call in (lambda x: lane_tokens(x, row_beats), lambda x: coded_bits(x[:, None], row_beats, 8)):
        with pytest.raises(ValueError, match=f"^{re.escape(f'Beats must be whole rows of {row_beats}, not {count}')}$"):
            call(np.zeros(count, int))
