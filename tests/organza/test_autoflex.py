"""Autoflex against a plain transcription of the paper's algorithms, hand-computed sequences, and what it is for: no overflows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.autoflex import Autoflex, AutoflexSettings

WIDE = {"low": -200, "high": 200}


def transcribed(peaks, exponent, *, n=16, window=16, alpha=2.0, beta=3.0, gamma=100.0):
    """Köster et al., algorithm 2, as it is printed, with numpy; exponents without limits."""
    kappa, f, made = 2.0**exponent, [], []
    for peak in peaks:
        if peak >= 2 ** (n - 1) - 1:
            f = []
            peak = 2 * peak
        f = [*f, peak * kappa][-window:]
        chi = alpha * (np.max(f) + beta * np.std(f) + gamma * kappa)
        kappa = 2 ** (np.ceil(np.log2(chi)) - n + 1)
        made.append(int(np.log2(kappa)))
    return made


@settings(max_examples=200)
@given(st.lists(st.integers(1, 32768), min_size=1, max_size=60), st.integers(-40, 20), st.integers(1, 20))
def test_algorithm_2(peaks, exponent, window):
    flex = Autoflex(exponent, AutoflexSettings(window=window, **WIDE))
    assert [flex.update(peak) for peak in peaks] == transcribed(peaks, exponent, window=window)
    assert flex.overflows == sum(peak >= 32767 for peak in peaks)


def test_by_hand():
    """Window of two: maxima, deviation, constant and overflow one after the other."""
    flex = Autoflex(-10, AutoflexSettings(window=2))
    # 2 (1000/1024 + 100/1024) = 2.1484
    assert flex.update(1000) == 2 - 15
    assert flex.maxima == (1000 / 1024,)
    # 2 (0.976563 + 3 · 0.061035 + 100/8192) = 2.3438; 7000/8192 = 0.854492
    assert flex.update(7000) == 2 - 15
    assert flex.maxima == (0.9765625, 0.8544921875)
    # 0.976563 falls out: 2 (0.854492 + 3 · 0.366211 + 0.012207) = 3.9307; 1000/8192 = 0.122070
    assert flex.update(1000) == 2 - 15
    # An overflow: forget everything, count double. 2 (7.999756 + 0.012207) = 16.0239
    assert flex.update(32767) == 5 - 15
    assert (flex.overflowed, flex.overflows, flex.maxima) == (True, 1, (2 * 32767 / 8192,))
    # 2 (7.999756 + 3 · (7.999756 − 0.976563) / 2 + 100/1024) = 37.264
    assert flex.update(1000) == 6 - 15
    assert (flex.overflowed, flex.overflows) == (False, 1)


def test_a_prediction_that_is_a_power_of_two():
    flex = Autoflex(-10, AutoflexSettings(gamma=0))
    assert flex.update(1024) == 1 - 15  # 2 · 1 = 2**1 exactly
    assert Autoflex(-10, AutoflexSettings(gamma=0)).update(1025) == 2 - 15


def play(reals, exponent=-12, settings=None):
    """Tensors with these real maxima, one after the other; their exponents, mantissas, and which overflowed."""
    flex, exponents, peaks, over = Autoflex(exponent, settings), [], [], []
    for real in reals:
        exponents.append(flex.exponent)
        peaks.append(min(round(math.ldexp(float(real), -flex.exponent)), flex.settings.top))
        flex.update(peaks[-1])
        over.append(flex.overflowed)
    return np.array(exponents), np.array(peaks), np.array(over), flex


@pytest.mark.parametrize("growth", [1.01, 1.05, 0.99, 0.95])
def test_slow_change_never_overflows(growth):
    _, peaks, over, _ = play(growth ** np.arange(300.0), settings=AutoflexSettings(**WIDE))
    assert not over.any()
    assert np.median(np.log2(peaks[20:])) > 11


@pytest.mark.parametrize("seed", range(5))
def test_noise_never_overflows(seed):
    """Maxima of 1,000 normal values; and of a single one between 0.2 and 2, once some have been seen."""
    rng = np.random.default_rng(seed)
    maxima = np.abs(rng.normal(size=(400, 1000))).max(1)
    assert not play(maxima)[2].any()
    _, peaks, over, _ = play(rng.uniform(0.2, 2.0, 400))
    assert not over[5:].any()
    assert np.median(np.log2(peaks)) > 11


@pytest.mark.parametrize("seed", range(5))
def test_heavy_tails_recover(seed):
    """Log-normal maxima: an overflow here and there, never two without a larger exponent in between."""
    exponents, _, over, _ = play(np.random.default_rng(seed).lognormal(0, 1, 2000))
    assert over.mean() < 0.02
    hit = np.flatnonzero(over[:-1])
    assert (exponents[hit + 1] > exponents[hit]).all()


def test_tiny_tensors_stay_within_five_bits():
    """Below 2**-31 there is no smaller exponent: clamped, and said so."""
    exponents, peaks, over, flex = play(np.full(50, 3e-8), exponent=0)
    assert exponents[-1] == -31
    assert flex.clamped and not over.any()
    assert peaks[-1] == round(3e-8 * 2**31)
    zeros = play(np.zeros(50), settings=AutoflexSettings(gamma=0))[3]
    assert (zeros.exponent, zeros.clamped) == (-31, True)


def test_large_tensors_stay_within_five_bits():
    exponents, _, over, flex = play(np.full(30, 1e6), exponent=0)
    assert (exponents == 0).all() and over.all() and flex.clamped


@pytest.mark.parametrize("jump", [3, 30, 1000, 1e5])
def test_a_jump_recovers(jump):
    """Every overflow gives at least two bits, so it takes half the jump's bits."""
    reals = np.concatenate([np.full(40, 0.1), np.full(40, 0.1 * jump)])
    exponents, peaks, over, _ = play(reals)
    assert not over[:40].any()
    assert over[40:].sum() <= max(0, math.ceil(math.log2(jump) / 2))
    recovered = 40 + int(over[40:].sum())
    assert not over[recovered:].any()
    assert peaks[-1] > 1 << 10
    assert exponents[-1] > exponents[39]


def test_a_fall_keeps_its_bits():
    """After a fall by 1,000 the window forgets, and the mantissas use their bits again."""
    _, peaks, _, _ = play(np.concatenate([np.full(20, 100.0), np.full(40, 0.1)]))
    assert peaks[20] < 32
    assert peaks[-1] > 1 << 10


@pytest.mark.parametrize("power", range(-14, 15))
def test_initialisation(power):
    """Two or three measurements find an exponent from 2**0 on at which 13 bits or more are used."""
    real, calls = 1.37 * 2.0**power, []

    def measure(exponent):
        calls.append(exponent)
        return min(round(math.ldexp(real, -exponent)), 32767)

    flex = Autoflex.initialised(measure)
    assert calls[0] == 0
    assert len(calls) <= 3
    assert not flex.clamped
    assert 1 << 12 <= round(math.ldexp(real, -flex.exponent)) < 1 << 15


@pytest.mark.parametrize(("real", "bound"), [(0.0, -31), (1e-12, -31), (1e9, 0)])
def test_initialisation_ends_at_the_bounds(real, bound):
    calls = []

    def measure(exponent):
        calls.append(exponent)
        return min(round(math.ldexp(real, -exponent)), 32767)

    flex = Autoflex.initialised(measure)
    assert (flex.exponent, flex.clamped) == (bound, True)
    assert len(calls) <= 4


def test_initialisation_from_an_overflow():
    """Seven bits up at a time, as long as it overflows, and then down to where it belongs."""
    calls = []

    def measure(exponent):
        calls.append(exponent)
        return min(round(math.ldexp(5e6, -exponent)), 32767)

    flex = Autoflex.initialised(measure, AutoflexSettings(**WIDE))
    assert calls == [0, 7, 14]
    # 5e6 / 2**14 = 305: ⌈log2 305⌉ − 14 = −5.
    assert flex.exponent == 9


def test_initialisation_of_something_that_never_settles():
    calls = []

    def measure(exponent):
        calls.append(exponent)
        return 32767 if len(calls) % 2 else 0

    Autoflex.initialised(measure, AutoflexSettings(**WIDE))
    assert len(calls) == 16


def test_numbers_of_any_array_library():
    one, other = Autoflex(-12), Autoflex(-12)
    assert one.update(np.int16(1234)) == other.update(torch.tensor(1234)) == Autoflex(-12).update(1234)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Autoflex(1), ValueError, "^Autoflex exponent must be between -31 and 0, not 1$"),
        (lambda: Autoflex(0.5), TypeError, r"^Autoflex exponent must be an integer, not 0\.5$"),
        (lambda: Autoflex(0).update(32769), ValueError, "^Autoflex peak must be between 0 and 32768, not 32769$"),
        (lambda: Autoflex(0).update(-1), ValueError, "^Autoflex peak must be between 0 and 32768, not -1$"),
        (lambda: Autoflex(0).update(1.0), TypeError, r"^Autoflex peak must be an integer, not 1\.0$"),
        (lambda: Autoflex(0).update(True), TypeError, "^Autoflex peak must be an integer, not True$"),
        (lambda: AutoflexSettings(window=0), ValueError, "^Autoflex window must be at least 1, not 0$"),
        (lambda: AutoflexSettings(bits=3), ValueError, "^Autoflex bits must be at least 4, not 3$"),
        (lambda: AutoflexSettings(bits=8.0), TypeError, r"^Autoflex bits must be an integer, not 8\.0$"),
        (lambda: AutoflexSettings(alpha=0.5), ValueError, r"^Autoflex alpha must be finite and at least 1, not 0\.5$"),
        (lambda: AutoflexSettings(beta=math.inf), ValueError, "^Autoflex beta must be finite and at least 0, not inf$"),
        (lambda: AutoflexSettings(gamma="1"), TypeError, "^Autoflex gamma must be a number, not '1'$"),
        (lambda: AutoflexSettings(low=1), ValueError, "^Autoflex low must not exceed high, not 1 > 0$"),
    ],
)  # fmt: skip
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
