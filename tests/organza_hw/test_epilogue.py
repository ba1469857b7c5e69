# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from organza.epilogue import MAX_SHIFT, Epilogue
from organza_hw.epilogue import Constants, EpilogueUnit, _shape_of
from organza_sim.pysim import trace_cycles

M_LOW, M_HIGH = -(1 << 15), (1 << 15) - 1


def check(sums, *, bias, positive, negative, shift, low, high, table=None, sum_bits, output):
    """One case a cycle: every case is a channel of the `Epilogue` that says what must come out, `latency` later."""
    arrays = np.broadcast_arrays(sums, bias, positive, negative, shift)
    sums, bias, positive, negative, shift = (np.asarray(array, np.int64).reshape(-1) for array in arrays)
    epilogue = Epilogue(bias, positive, negative, shift, low, high, table)
    unit = EpilogueUnit(epilogue, sum_bits=sum_bits, output=output, bias=signed(sum_bits), positive=signed(16),
                        negative=signed(16), shift=unsigned(6))  # fmt: skip
    assert unit.latency == 8 + (sum_bits > 18) + (sum_bits > 35) + 2 * (table is not None)
    columns = zip(sums.tolist(), bias.tolist(), positive.tolist(), negative.tolist(), shift.tolist(), strict=True)
    names = ("sum", "bias", "positive", "negative", "shift")
    inputs = [dict(zip(names, column, strict=True)) for column in columns]
    seen = trace_cycles(unit, inputs + [{}] * unit.latency, ["q"])[unit.latency :]
    assert [q for (q,) in seen] == epilogue.compute(sums).tolist()


def near_rounding(rng, shift, m, count):
    """Sums whose product with `m` lies around a rounding boundary of `shift`, as far as there are such."""
    half = 1 << max(shift - 1, 0)
    targets = half * (2 * rng.integers(-4, 4, count) + 1) + rng.integers(-2, 3, count)
    return np.clip(targets // m, -(1 << 38), (1 << 38) - 1)


@pytest.mark.parametrize("shift", range(MAX_SHIFT + 1))
def test_every_shift(shift):
    rng = np.random.default_rng(shift)
    extremes = np.array([-(1 << 38), (1 << 38) - 1, -1, 0, 1])
    multipliers = [M_LOW, M_HIGH, 1, -1, int(rng.integers(2, 1 << 15)), -int(rng.integers(2, 1 << 15))]
    sums, m = [], []
    for value in multipliers:
        chosen = np.concatenate([extremes, near_rounding(rng, shift, value, 12), rng.integers(-9, 9, 3)])
        sums.append(chosen)
        m.append(np.full(len(chosen), value))
    sums, m = np.concatenate(sums), np.concatenate(m)
    # The multiplier of the other sign is something else, so that a wrong choice shows.
    check(sums, bias=0, positive=np.where(sums >= 0, m, ~m), negative=np.where(sums < 0, m, ~m), shift=shift,
          low=-(1 << 15), high=(1 << 15) - 1, sum_bits=40, output=signed(16))  # fmt: skip


@pytest.mark.parametrize("positive, negative", [(3, 0), (3, 3), (M_HIGH, M_LOW), (-5, 7), (0, 1), (29, -3)])
@pytest.mark.parametrize("shift", [0, 1, 5, 9])
def test_every_sum_of_eleven_bits(positive, negative, shift):
    check(np.arange(-1024, 1024), bias=0, positive=positive, negative=negative, shift=shift, low=-128, high=127,
          sum_bits=11, output=signed(8))  # fmt: skip


@pytest.mark.parametrize("low, high, output", [(0, 255, unsigned(8)), (-128, 127, signed(8)), (7, 7, unsigned(3)),
                                               (-9, -4, signed(8)), (3, 200, unsigned(8)), (0, 0, unsigned(1)),
                                               (-1, 0, signed(2)), (0, 65535, unsigned(16))])  # fmt: skip
def test_every_clamp(low, high, output):
    span = np.arange(-30, 31)
    sums = np.concatenate([low + span, high + span, [-(1 << 22), (1 << 22) - 1]])
    check(sums, bias=0, positive=2, negative=2, shift=1, low=low, high=high, sum_bits=24, output=output)


def test_bias_moves_the_sign():
    sums, bias = np.meshgrid(np.arange(-20, 21, 4), np.arange(-20, 21))
    check(sums, bias=bias, positive=5, negative=-3, shift=2, low=-128, high=127, sum_bits=8, output=signed(8))


@pytest.mark.parametrize("low, high", [(0, 0), (-3, -3), (-1, 0), (-300, 299), (0, 4095), (-4000, 95)])
def test_table(low, high):
    rng = np.random.default_rng(high - low)
    table = rng.integers(-128, 128, high - low + 1)
    sums = np.concatenate([[low - 5, high + 5], np.arange(low, high + 1)])
    check(sums, bias=0, positive=1, negative=1, shift=0, low=low, high=high, table=table, sum_bits=16, output=signed(8))


def test_shapes():
    for low, high, expected in ((0, 0, unsigned(1)), (0, 255, unsigned(8)), (-1, 0, signed(1)), (-128, 127, signed(8)),
                                (-128, 128, signed(9)), (-1, 7, signed(4)), (-8, -8, signed(4))):  # fmt: skip
        assert _shape_of(low, high) == expected


class TestConstants:
    """Words of constants against the arrays that they come from."""

    CHUNKS = [[0, 1, 2], [3, 4], []]  # noqa: RUF012
    EXTRA = [{"word": 0, "count": 3}, {"word": 6, "count": 2}, {"word": 0, "count": 0}]  # noqa: RUF012

    def unpack(self, constants, word, unit, name):
        made = constants.take(data.Const(constants.layout, word), unit, name)
        return made if isinstance(made, int) else made.value

    @pytest.mark.parametrize("columns", [
        {"bias": [1, -2, 3, -4, 5], "positive": [9, 8, 7, 6, 5], "negative": [-9, 0, 1, 2, 3], "shift": [0, 47, 2, 3, 4]},
        {"bias": [-7] * 5, "positive": [3, 4, 5, 6, 7], "negative": [0] * 5, "shift": [24] * 5},
        {"bias": [0] * 5, "positive": [1] * 5, "negative": [-1] * 5, "shift": [0] * 5},
    ])  # fmt: skip
    def test_words(self, columns):
        epilogue = Epilogue(**{name: np.array(values) for name, values in columns.items()}, low=0, high=1)
        constants = Constants(epilogue, e=3, chunks=self.CHUNKS, extra=self.EXTRA)
        for word, channels, extra in zip(constants.words, self.CHUNKS, self.EXTRA, strict=True):
            view = data.Const(constants.layout, word)
            assert {name: getattr(view, name) for name in extra} == extra
            for unit, channel in enumerate(channels):
                for name, values in columns.items():
                    assert self.unpack(constants, word, unit, name) == values[channel]

    def test_words_that_are_loaded_say_all_of_them(self):
        """Also where a unit has no channel, and where two have the same."""
        rng = np.random.default_rng(0)
        columns = {
            "bias": rng.integers(-256, 256, 5), "positive": rng.integers(M_LOW, M_HIGH, 5), "negative": rng.integers(M_LOW, M_HIGH, 5),
            "shift": rng.integers(0, MAX_SHIFT + 1, 5),
        }  # fmt: skip
        chunks = [[2, 0, 1], [4, None, 4], [3]]
        constants = Constants(Epilogue(**columns, low=0, high=1), e=3, chunks=chunks, extra=self.EXTRA, loads=9)
        assert constants.layout.size == 3 * (9 + 16 + 16 + 6) + 3 + 2
        found = constants.columns(constants.words, 5)
        assert {name: column.tolist() for name, column in found.items()} == {name: column.tolist() for name, column in columns.items()}
        assert [self.unpack(constants, constants.words[1], 1, name) for name in columns] == [0, 0, 0, 0]

    def test_constants_that_never_change_take_no_memory(self):
        fixed = Epilogue(*(np.full(5, value) for value in (3, 2, 2, 1)), low=0, high=1)
        constants = Constants(fixed, e=3, chunks=self.CHUNKS, extra=self.EXTRA)
        assert constants.layout.size == 3 + 2  # word and count only
