# amaranth: UnusedElaboratable=no
"""Bytes of pixels are those of pictures in files, for every integer of every format, whatever stalls."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from organza.brightness import screen_channels, to_bytes
from organza.formats import Fixed, Flex, Sign
from organza_hw.formats import wire_shape
from organza_hw.video.pixels import Pixels, order, thresholds
from organza_sim.beats import to_beats
from organza_sim.pictures import comparison
from tests.organza_hw.link.test_beat_bytes import stream
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.tiny import tiny_program

FORMS = [Fixed(8, True, 1 / 127), Fixed(8, False, 1 / 255), Fixed(5, True, 0.1), Fixed(12, True, 1 / 1500), Flex(-14), Flex(-15), Sign(0.5)]


def ends(form, channels=1, height=2, width=3, table=False):
    """What pixels need of a Program: its output, and whether a table made that."""
    last = tiny_program().nodes[-1]
    last = last if table else replace(last, epilogue=replace(last.epilogue, table=None))
    return SimpleNamespace(output=form, dequantize=form.dequantize, output_shape=(channels, height, width), nodes=(last,))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("table", [False, True])
def test_thresholds(form, table):
    """All integers; and the pictures of reports are the same bytes."""
    program = ends(form, table=table)
    every = np.array([-1, 1]) if isinstance(form, Sign) else np.arange(form.low, form.high + 1)
    wanted = to_bytes(program, form.dequantize(every))
    keys = (np.asarray(form.to_wire(every)) & (1 << form.bits) - 1) ^ order(form)
    assert np.searchsorted(thresholds(program), keys, side="right").tolist() == wanted.tolist()
    few = every[:: max(1, len(every) // 500)].reshape(1, 1, 1, -1)
    (row,) = comparison(program, real=None, reference=few, rtl=None)
    assert np.array_equal(row.pixels, to_bytes(program, form.dequantize(screen_channels(few))))


def test_signed_bytes_of_tanh():
    """−127, 0 and 127 are black, the middle and white, and −128 is no blacker."""
    program = ends(Fixed(8, True, 1 / 127), table=True)
    assert to_bytes(program, program.output.dequantize(np.array([-128, -127, 0, 126, 127]))).tolist() == [0, 0, 128, 254, 255]


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[4], FORMS[6]], ids=str)
@pytest.mark.parametrize("channels, n", [(1, 1), (2, 1), (3, 1), (3, 2), (3, 4), (5, 2)])
def test_pixels(form, channels, n):
    """Grey, colours, and more channels than a screen has."""
    program = ends(form, channels)
    rng = np.random.default_rng(channels * 8 + n)
    q = rng.integers(form.low, form.high + 1, (3, *program.output_shape))
    q = np.where(q < 0, -1, 1) if isinstance(form, Sign) else q
    pixels = to_bytes(program, form.dequantize(screen_channels(q))).astype(np.int64)
    wanted = (pixels << 8 * np.arange(pixels.shape[-1])).sum(axis=-1).ravel().tolist()
    beats, last = to_beats(form.to_wire(q), n)
    bits = wire_shape(form).width
    words = [
        sum((int(value) & (1 << bits) - 1) << bits * k for k, value in enumerate(beat)) | int(flag) << bits * n
        for beat, flag in zip(beats, last, strict=True)
    ]  # fmt: skip
    for idle, pressure in CROSSED[(channels + n) % 3 :: 5]:
        found = stream(Pixels(program, n), words, len(wanted), PATTERNS[idle], PATTERNS[pressure])
        assert [word for word, in found] == wanted


def test_cycles_of_an_integer():
    """Twenty-four for the search, one for its byte, one each to keep and to give; at the beginning one for the beat."""
    program = ends(FORMS[0], 1, 1, 10)
    free = np.zeros(1, bool)
    words = [*range(9), 9 | 1 << 8]
    cycles = 1 + 10 * (8 * Pixels.STEP + 3)
    assert len(stream(Pixels(program, 1), words, 10, free, free, watchdog=cycles)) == 10
    with pytest.raises(AssertionError, match="9 of 10 words after"):
        stream(Pixels(program, 1), words, 10, free, free, watchdog=cycles - 1)
