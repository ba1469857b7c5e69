"""The rule of an exponent unit: exact integers against real arithmetic, sequences by hand, recovery from overflows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.exponents import ExponentRule, excess_bits

RULES = st.builds(
    lambda low, span, at, window, delay, headroom: ExponentRule(
        initial=min(low + at, min(low + span, 0)), low=low, high=min(low + span, 0), window=window, delay=delay, headroom=headroom
    ),
    st.integers(-31, 0), st.integers(0, 31), st.integers(0, 31), st.integers(1, 6), st.integers(1, 4), st.integers(0, 4),
)  # fmt: skip


def play(rule, images):
    """Images as pairs of their smallest and largest real values, as fractions: exponent, excess of each."""
    history, made = rule.start(), []
    for low, high in images:
        e = rule.next(history)
        smallest, largest = (int((value / Fraction(2) ** e + Fraction(1, 2)) // 1) for value in (low, high))
        excess = excess_bits(smallest, largest)
        peak = max(abs(min(max(value, -32768), 32767)) for value in (smallest, largest))
        made.append((e, excess))
        history = rule.after(history, rule.wanted(e, peak, excess))
    return made


def test_by_hand():
    """Window of 2, d = 1: every exponent rests on the two images before the last one."""
    rule = ExponentRule(initial=-10, window=2)
    history = rule.start()
    assert history == (-10, -10, -10)
    # 5000 has 13 bits: with one bit of headroom it needs 2**14 mantissas, one bit less than there is.
    assert rule.wanted(-10, 5000, 0) == -11
    assert rule.wanted(-10, 16383, 0) == -10  # 14 bits
    assert rule.wanted(-10, 16384, 0) == -9
    assert rule.wanted(-10, 32767, 0) == -9
    assert rule.wanted(-10, 32767, 3) == -6  # 18 bits before the clamp
    assert rule.wanted(-10, 0, 0) == -24
    assert rule.wanted(-20, 0, 0) == -31
    assert rule.wanted(-1, 32767, 9) == 0
    taken = []
    for asked in (-11, -12, -13, -6, -14, -15):
        taken.append(rule.next(history))
        history = rule.after(history, asked)
    taken.append(rule.next(history))
    assert taken == [-10, -10, -10, -11, -12, -6, -6]
    assert history == (-15, -14, -6)
    assert rule.next(history, -5, 0) == -5
    assert rule.next(history, -31, -8) == -8


@pytest.mark.parametrize("width", range(20))
def test_excess_is_the_width_beyond_a_mantissa(width):
    for value in (1 << width) - 1, -(1 << width):
        fits = -32768 <= value <= 32767
        assert excess_bits(value, value) == (0 if fits else width - 15)
    assert excess_bits(-1, (1 << width) - 1) == excess_bits(-(1 << width), 0) == max(width - 15, 0)


@settings(max_examples=120)
@given(RULES, st.lists(st.fractions(-(2**20), 2**20, max_denominator=2**31), min_size=1, max_size=12))
def test_it_is_the_ideal_rule_on_what_was_seen(rule, reals):
    """The exponent asked for is the smallest with that headroom, of every image as it was rounded, clamped or not."""
    history = rule.start()
    for real in reals:
        e = rule.next(history)
        value = int((real / Fraction(2) ** e + Fraction(1, 2)) // 1)
        excess = excess_bits(value, value)
        wanted = rule.wanted(e, abs(min(max(value, -32768), 32767)), excess)
        # −2**k has k bits beside its sign, so one step less than its magnitude would ask for.
        seen = abs(value) - (excess > 0 and value < 0)
        assert wanted == rule.ideal([float(seen * Fraction(2) ** e)] if seen else [0.0]) or (not seen and wanted >= e - 15)
        reach = seen * 2**rule.headroom * Fraction(2) ** e
        assert reach < 2**15 * Fraction(2) ** wanted or wanted == rule.high
        assert wanted == rule.low or not seen or reach >= 2**14 * Fraction(2) ** wanted
        history = rule.after(history, wanted)
        rule.check(history)


@settings(max_examples=300)
@given(RULES, st.lists(st.integers(-31, 0), min_size=8, max_size=30), st.data())
def test_only_images_that_are_over_count(rule, asked, data):
    """The exponent of image n + 1 is the largest asked for by `window` images up to n − d, and by no other."""
    asked = [min(max(e, rule.low), rule.high) for e in asked]
    at = data.draw(st.integers(0, len(asked) - 1))
    history = rule.start()
    for e in asked[: at + 1]:
        history = rule.after(history, e)
    before = [rule.initial] * (rule.window + rule.delay) + asked[: at + 1]
    assert rule.next(history) == max(before[-rule.window - rule.delay : -rule.delay])


@pytest.mark.parametrize("delay", [1, 2, 3])
@pytest.mark.parametrize("jump", [5, 100, 10_000, -5, -10_000])
def test_recovers_from_an_overflow_of_any_size(delay, jump):
    """d + 1 images overflow, whatever the jump; then there is headroom again."""
    rule = ExponentRule(initial=-20, delay=delay)
    images = [(Fraction(-1, 8), Fraction(1, 8))] * 12 + [(Fraction(min(jump, 0), 8), Fraction(max(jump, 0), 8))] * 12
    made = play(rule, images)
    over = [excess > 0 for _, excess in made]
    first = 12
    assert over[first : first + delay + 1] == [True] * (delay + 1)
    assert not any(over[first + delay + 1 :])
    largest = abs(jump) * Fraction(1, 8)
    e = made[-1][0]
    assert 2**13 <= largest / Fraction(2) ** e <= 2**14


def test_an_initial_exponent_that_is_too_small():
    rule = ExponentRule(initial=-31)
    made = play(rule, [(Fraction(0), Fraction(3))] * 6)
    assert [e for e, _ in made] == [-31, -31, -12, -12, -12, -12]
    assert [excess > 0 for _, excess in made] == [True, True, False, False, False, False]


def test_a_fall_is_followed_once_the_window_has_passed():
    rule = ExponentRule(initial=-10)
    made = play(rule, [(Fraction(0), Fraction(8))] * 4 + [(Fraction(0), Fraction(1, 100))] * 8)
    exponents = [e for e, _ in made]
    # Four images count, and the one before the next does not: the last large image is number 3.
    assert exponents[:9] == [-10, -10, -10, -10, -10, -10, -10, -10, -10]
    assert exponents[9] == -20


def test_headroom_of_a_steady_tensor():
    """Between 2 and 4 times its largest value always fits."""
    rng = np.random.default_rng(0)
    for real in rng.uniform(1e-3, 1e3, 50):
        value = Fraction(float(real))
        e = play(ExponentRule(initial=0), [(-value, value)] * 8)[-1][0]
        assert 2 < Fraction(2**15) * Fraction(2) ** e / value <= 4 + Fraction(1, 1000)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"initial": -32}, ValueError, r"^Exponent rule initial must be between -31 and 0 \(5 bits\), not -32$"),
        ({"high": 1}, ValueError, r"^Exponent rule high must be between -31 and 0 \(5 bits\), not 1$"),
        ({"low": -3.0}, TypeError, r"^Exponent rule low must be an integer, not -3\.0$"),
        ({"low": -9}, ValueError, r"^Exponent rule initial must be between its low and high, -9…0, not -10$"),
        ({"window": 0}, ValueError, r"^Exponent rule window must be between 1 and 16, not 0$"),
        ({"window": True}, TypeError, r"^Exponent rule window must be an integer, not True$"),
        ({"delay": 0}, ValueError, r"^Exponent rule delay must be between 1 and 16, not 0$"),
        ({"headroom": 5}, ValueError, r"^Exponent rule headroom must be between 0 and 4, not 5$"),
    ],
)  # fmt: skip
def test_wrong_rules(change, kind, message):
    with pytest.raises(kind, match=message):
        replace(ExponentRule(initial=-10), **change)


@pytest.mark.parametrize(
    ("history", "kind", "message"),
    [
        ([-10] * 5, TypeError, r"^Exponent history must be a tuple of integers, not \[-10, -10, -10, -10, -10\]$"),
        ((-10.0,) * 5, TypeError, r"^Exponent history must be a tuple of integers, not \(-10\.0, .*\)$"),
        ((-10,) * 4, ValueError, r"^Exponent history must have 5 entries, not 4$"),
        ((-10, -10, -10, -10, -21), ValueError, r"^Exponent history must be between -20 and 0, not \(.*, -21\)$"),
    ],
)  # fmt: skip
def test_wrong_histories(history, kind, message):
    with pytest.raises(kind, match=message):
        ExponentRule(initial=-10, low=-20).check(history)
