# amaranth: UnusedElaboratable=no
"""Divisors against the vendors' rules, and against the tools that the open flows bring along."""

import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organza.board import board_names, load_board
from organza_hw.boards.pll import DETECTORS, DIVISORS, OSCILLATORS, OUTER, divisors, second_divisor

MHZ = st.integers(10, 200).map(lambda mhz: mhz * 1_000_000)


def tool(name, *arguments):
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=True).stdout


def number(pattern, text):
    found = re.search(pattern, text)
    assert found is not None, text
    return int(found[1])


@given(st.sampled_from(sorted(OSCILLATORS)), MHZ, MHZ)
def test_what_is_found_gives_the_frequency_within_the_limits(family, from_hz, to_hz):
    try:
        found = divisors(family, from_hz, to_hz)
    except ValueError as error:
        assert re.fullmatch(rf"PLL of {family} must give {to_hz} Hz from {from_hz} Hz, and no divisors do", str(error))
        return
    assert (found is None) == (from_hz == to_hz)
    if found is None:
        return
    divided, feedback, output = found
    compared = Fraction(from_hz, divided)
    made = compared * feedback if family in OUTER else compared * feedback / output
    oscillator = made * output
    assert made == to_hz
    assert DETECTORS[family][0] <= compared <= DETECTORS[family][1]
    assert OSCILLATORS[family][0] <= oscillator <= OSCILLATORS[family][1]


@given(MHZ, MHZ, MHZ)
def test_a_second_output(from_hz, to_hz, second_hz):
    """Of the oscillator that makes the first, which is fed back, whether the PLL would be a wire without it or not."""
    try:
        (divided, feedback, output), second = second_divisor("ecp5", from_hz, to_hz, second_hz)
    except ValueError as error:
        assert re.fullmatch(rf"PLL of ecp5 must give {to_hz} Hz from {from_hz} Hz.*|PLL of ecp5 must give {second_hz} Hz beside {to_hz} Hz.*", str(error))
        return
    made = Fraction(from_hz, divided) * feedback
    assert (made, made * output / second) == (to_hz, second_hz)
    assert OSCILLATORS["ecp5"][0] <= made * output <= OSCILLATORS["ecp5"][1]
    assert second in DIVISORS["ecp5"][-1] and output in DIVISORS["ecp5"][-1]


def test_clocks_of_a_screen():
    """25 MHz for pixels and five times that, from 25 MHz, and as the simulation has it."""
    assert second_divisor("ecp5", 25_000_000, 125_000_000, 25_000_000) == ((1, 5, 4), 20)
    assert second_divisor("ecp5", 125_000_000, 125_000_000, 25_000_000) == ((1, 1, 4), 20)


@pytest.mark.synth
def test_a_second_output_as_ecppll():
    said = tool("yowasp-ecppll", "-i", "25", "-o", "125", "--clkout1", "25")
    first, second = (number(pattern, said) for pattern in (r"clkout0 divisor: (\d+)", r"clkout1 divisor: (\d+)"))
    assert second == 5 * first


@pytest.mark.parametrize("name", board_names())
def test_every_board_has_its_clock(name):
    board = load_board(name)
    found = divisors(board.device.family, board.clock.hz, board.core_hz)
    assert (found is None) == (board.clock.hz == board.core_hz)


@pytest.mark.synth
@pytest.mark.parametrize("from_mhz, to_mhz", [(12, 30), (12, 24), (16, 60)])
def test_ice40_as_icepll(from_mhz, to_mhz):
    """Its own tool finds the same dividers."""
    said = tool("yowasp-icepll", "-i", str(from_mhz), "-o", str(to_mhz))
    divr, divf, divq = (number(rf"{key}: +(\d+) ", said) for key in ("DIVR", "DIVF", "DIVQ"))
    assert divisors("ice40", from_mhz * 1_000_000, to_mhz * 1_000_000) == (divr + 1, divf + 1, 1 << divq)


@pytest.mark.synth
@pytest.mark.parametrize("from_mhz, to_mhz", [(25, 125), (48, 120), (100, 125)])
def test_ecp5_as_ecppll(from_mhz, to_mhz):
    """Its own tool divides the input and what comes back in the same ratio; it prefers another oscillator."""
    said = tool("yowasp-ecppll", "-i", str(from_mhz), "-o", str(to_mhz))
    theirs = Fraction(*(number(rf"{key} divisor: (\d+)", said) for key in ("Feedback", "Refclk")))
    found = divisors("ecp5", from_mhz * 1_000_000, to_mhz * 1_000_000)
    assert found is not None and Fraction(found[1], found[0]) == theirs


@pytest.mark.parametrize("arguments, error, message", [
    (("ecp5", 25e6, 50_000_000), TypeError, "PLL from_hz must be an integer, not 25000000.0"),
    (("max10", 25_000_000, 50_000_000), ValueError, "PLL family must be one of ecp5, ice40, gowin, xc7, not 'max10'"),
    (("ice40", 12_000_000, 31_000_001), ValueError, "PLL of ice40 must give 31000001 Hz from 12000000 Hz, and no divisors do"),
])  # fmt: skip
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        divisors(*arguments)


@pytest.mark.parametrize("arguments, message", [
    (("ice40", 12_000_000, 24_000_000, 12_000_000), "PLL of ice40 must have one output, not also one of 12000000 Hz"),
    (("ecp5", 25_000_000, 125_000_000, 25_175_000), "PLL of ecp5 must give 25175000 Hz beside 125000000 Hz, and no divisor does"),
    (("ecp5", 25_000_000, 125_000_001, 25_000_000), "PLL of ecp5 must give 125000001 Hz from 25000000 Hz, and no divisors do"),
])  # fmt: skip
def test_wrong_second_outputs(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        second_divisor(*arguments)
