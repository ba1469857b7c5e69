# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth.hdl import signed, unsigned

from organza_hw.lane_memory import LaneMemory
from organza_sim.pysim import trace_cycles

DEPTH = 5


def shapes():
    for lanes in (1, 2, 3, 4, 7):
        for width in sorted({1, 2, lanes - 1, lanes} & set(range(1, lanes + 1))):
            yield lanes, width, False
            if width > 1:
                yield lanes, width, True


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("lanes, width, straddle", list(shapes()))
def test_writes_at_every_offset(lanes, width, straddle, spread):
    """Random writes and reads, the read of a word never in the cycle that writes it."""
    offsets = range(lanes) if straddle else range(lanes - width + 1)
    component = LaneMemory(
        shape=signed(6), depth=DEPTH, lanes=lanes, width=width, offsets=offsets, straddle=straddle, spread=spread
    )  # fmt: skip
    rng = np.random.default_rng([lanes, width])
    content = np.zeros((DEPTH + 1) * lanes, int)
    inputs, expected, held = [], [], None
    for offset in [*offsets] * 20:
        address = int(rng.integers(0, DEPTH - (1 if straddle else 0)))
        count = int(rng.integers(0, width + 1))
        values = rng.integers(-32, 32, width).tolist()
        enable, reading = bool(rng.integers(4)), bool(rng.integers(4))
        begin = address * lanes + offset
        touched = {k // lanes for k in range(begin, begin + count)} if enable else set()
        free = sorted(set(range(DEPTH)) - touched)
        read = int(rng.choice(free))
        inputs.append({"w_en": enable, "w_addr": address, "w_offset": offset, "w_count": count, "w_data": values,
                       "r_en": reading, "r_addr": read})  # fmt: skip
        held = content[read * lanes : (read + 1) * lanes].tolist() if reading else held
        expected.append(held)
        if enable:
            content[begin : begin + count] = values[:count]
    seen = trace_cycles(component, [*inputs, {"r_en": 0, "w_en": 0}], ["r_data"])
    for (data,), values in zip(seen[1:], expected, strict=True):
        if values is not None:
            assert [data[k] for k in range(lanes)] == values


def test_a_written_value_can_be_read_from_the_next_cycle_on():
    component = LaneMemory(shape=unsigned(4), depth=2, lanes=2, width=2, offsets=[0], straddle=False)
    write = {"w_en": 1, "w_addr": 1, "w_offset": 0, "w_count": 2, "w_data": [5, 9], "r_en": 0}
    seen = trace_cycles(component, [write, {"w_en": 0, "r_en": 1, "r_addr": 1}, {}], ["r_data"])
    assert [seen[2][0][k] for k in range(2)] == [5, 9]


@pytest.mark.parametrize("width", [0, 4])
def test_wrong_width(width):
    with pytest.raises(ValueError, match=rf"^LaneMemory width must be between 1 and 3 lanes, not {width}$"):
        LaneMemory(shape=4, depth=2, lanes=3, width=width, offsets=[0], straddle=False)
