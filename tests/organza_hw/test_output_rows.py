# amaranth: UnusedElaboratable=no
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import signed

from organza_hw.output_rows import OutputRows
from organza_sim.pysim import trace_cycles
from tests.organza_hw.patterns import PATTERNS

OUTPUTS = ("o.valid", "o.payload.last", "o.payload.data", "unit_freed")


@dataclass(frozen=True)
class Shape:
    n: int
    channels: int
    height: int
    width: int
    e: int

    @property
    def beats(self):
        return -(-self.channels // self.n)

    def component(self):
        starts = {first % self.n for first in range(0, self.channels, self.e)}
        straddle = any(first % self.n + min(self.e, self.channels - first) > self.n
                       for first in range(0, self.channels, self.e))  # fmt: skip
        return OutputRows(shape=signed(8), n=self.n, channels=self.channels, height=self.height, width=self.width, rows=1,
                          e=self.e, offsets=starts, straddle=straddle)  # fmt: skip

    def writes(self, rng, row, values):
        """Writes of one row in any order of pixels; what is beyond the channels is noise."""
        half = row % 2 * self.width * self.beats
        for x in rng.permutation(self.width).tolist():
            for first in range(0, self.channels, self.e):
                count = min(self.e, self.channels - first)
                data = [*values[x][first : first + count], *rng.integers(-128, 128, self.e - count).tolist()]
                yield {"w_en": 1, "w_addr": half + x * self.beats + first // self.n, "w_offset": first % self.n,
                       "w_count": count, "w_data": data, "w_last": 0}  # fmt: skip


SHAPES = [Shape(1, 1, 1, 1, 1), Shape(3, 5, 2, 3, 2), Shape(4, 4, 3, 2, 4), Shape(2, 6, 2, 2, 1),
          Shape(5, 7, 1, 4, 3), Shape(3, 3, 4, 1, 2)]  # fmt: skip


def play(shape, idle, pressure, images=2):
    """Write `images` images through the component; what was seen each cycle, the values, the cycles of `w_last`."""
    rng = np.random.default_rng(0)
    rows = images * shape.height
    values = rng.integers(-128, 128, (rows, shape.width, shape.channels)).tolist()
    seen, completed = [], []

    def drive():
        written = []
        busy = row = 0
        while len(seen) < 3000:
            cycle = len(seen)
            change = {"w_en": 0, "w_last": 0, "o.ready": not pressure[cycle % len(pressure)]}
            busy -= bool(seen and seen[-1][3])
            if not written and row < rows and busy < 2 and not idle[cycle % len(idle)]:
                written, busy = list(shape.writes(rng, row, values[row])), busy + 1
            if written:
                change |= written.pop(0)
                if not written:
                    change["w_last"] = 1
                    completed.append(cycle)
                    row += 1
            yield change
            if row == rows and not busy and cycle > completed[-1] + 100 + 15 * shape.width * shape.beats:
                return
        raise TimeoutError("the rows do not come out")

    trace_cycles(shape.component(), drive(), OUTPUTS, seen)
    return seen, values, completed


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("idle", PATTERNS)
@pytest.mark.parametrize("pressure", PATTERNS)
def test_raster_order(shape, idle, pressure):
    stall = PATTERNS[pressure]
    seen, values, _ = play(shape, PATTERNS[idle], stall)
    beats, held = [], None
    for cycle, (valid, last, data, _) in enumerate(seen):
        beat = [data[k] for k in range(shape.n)], last
        assert held is None or (valid and beat == held), f"an offered beat was changed in cycle {cycle}"
        held = beat if valid and stall[cycle % len(stall)] else None
        if valid and not held:
            beats.append(beat)
    padded = np.zeros((len(values), shape.width, shape.beats * shape.n), int)
    padded[..., : shape.channels] = values
    per_image = shape.height * shape.width * shape.beats
    expected = [(data, k % per_image == per_image - 1) for k, data in enumerate(padded.reshape(-1, shape.n).tolist())]
    assert beats == expected  # nothing more either, for at least 100 cycles
    assert sum(row[3] for row in seen) == len(values)
    assert not any(row[0] for row in seen[-80:])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_latency(shape):
    """First beat three cycles after `w_last`, one a cycle from then on; the row is free when the last beat moves to `o`."""
    seen, _, completed = play(shape, np.array([False] + [True] * 99), PATTERNS["never"], images=1)
    for completing in completed:
        beats = shape.width * shape.beats
        window = [row[0] for row in seen[completing : completing + beats + 4]]
        assert window == [0, 0, 0] + [1] * beats + [0]
        freed = [cycle for cycle in range(completing, completing + beats + 4) if seen[cycle][3]]
        assert freed == [completing + beats + 1]
