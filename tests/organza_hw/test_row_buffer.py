# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest

from organza_hw.formats import wire_shape
from organza_hw.row_buffer import RingLayout, RowBuffer
from organza_sim.beats import to_beats
from organza_sim.pysim import trace_cycles
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.organza_sim.layer_cases import case

OUTPUTS = ["i.ready", "row_written", "r_data"]
IMAGES = 3
SEEDS = range(28)


def ring_of(chosen):
    joint = chosen.plan.joints[0]
    return RingLayout(chosen.schedules[0], n=joint.n, depth=joint.depth)


def address(ring, row, column, channel):
    """Bank, word and lane of a value, from the words of `RingLayout`: columns are dealt to banks, a word is Ti channels
    of one group."""
    node = ring.schedule.node
    group, inside = divmod(channel, node.ci // node.groups)
    tiles = -(-(node.ci // node.groups) // ring.lanes)
    bank_row = -(-node.x.size // ring.banks) * node.groups * tiles
    word = column // ring.banks * node.groups * tiles + group * tiles + inside // ring.lanes
    return column % ring.banks, row % ring.depth * bank_row + word, inside % ring.lanes


def play(chosen, idle, pressure):
    """Rows in by one pattern; each is read back completely, then released by the other."""
    ring, node = ring_of(chosen), chosen.program.nodes[0]
    component = RowBuffer(ring, wire_shape(node.input))
    x = np.concatenate([chosen.x] * IMAGES)[:IMAGES]
    beats, _ = to_beats(x, ring.n)
    rows = x.transpose(0, 2, 3, 1).reshape(-1, node.x.size, node.ci)
    seen: list[tuple] = []
    accepted, written = [], []
    pixels = [(column, channel) for column in range(node.x.size) for channel in range(node.ci)]

    def drive():
        sent, offered, waiting = 0, False, 0
        reading = None  # cycle from which on the oldest row is read
        # What the addresses of this cycle and of the cycles before are for, the latest first.
        asked: list = [None] * (RowBuffer.LATENCY + 1)
        released = 0
        queue: list[tuple] = []
        while True:
            cycle = len(seen)
            assert cycle < 40_000, "the ring hangs"
            if seen:
                ready, row_written, data = seen[-1]
                if offered and ready:
                    accepted.append(cycle - 1)
                    sent, offered = sent + 1, False
                if row_written:
                    written.append(cycle - 1)
                    # A row must never be taken while the ring is full.
                    assert len(written) - released <= ring.depth
                if asked[-1]:
                    column, channel, bank, lane, row = asked[-1]
                    assert data[bank][lane] == rows[row, column, channel], (row, column, channel)
            change = {"release": 0}
            if reading is None and len(written) > released and not pressure[cycle % len(pressure)]:
                reading = max(written[released] + 2, cycle)
                queue = list(pixels)
            if reading is not None and cycle >= reading and queue:
                column, channel = queue.pop()
                bank, word, lane = address(ring, released, column, channel)
                addresses = [0] * ring.banks
                addresses[bank] = word
                change["r_addr"] = addresses
                asked = [(column, channel, bank, lane, released), *asked[:-1]]
            else:
                asked = [None, *asked[:-1]]
                if reading is not None and cycle > reading and not queue:
                    change["release"], reading, released = 1, None, released + 1
            if not offered and sent < len(beats) and not idle[cycle % len(idle)]:
                offered = True
                change["i.payload.data"] = beats[sent].tolist()
            elif not offered:
                change["i.payload.data"] = [node.input.low + (v != node.input.low) for v in beats[sent - 1].tolist()]
            change["i.valid"] = offered
            yield change
            waiting = waiting + 1 if sent == len(beats) and released == len(rows) else 0
            if waiting > 100:
                return

    trace_cycles(component, drive(), OUTPUTS, seen)
    assert len(accepted) == len(beats)
    assert len(written) == len(rows)
    assert written == accepted[ring.row_beats - 1 :: ring.row_beats]
    return ring, accepted, written


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_written_is_read_back(seed):
    idle, pressure = CROSSED[seed % len(CROSSED)]
    play(case(seed), PATTERNS[idle], PATTERNS[pressure])


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_patterns_crossed(idle, pressure):
    play(case(0), PATTERNS[idle], PATTERNS[pressure])


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_rate(seed):
    """A beat every `pieces_per_beat` cycles while there is room, from the first cycle on; `depth` rows without a pause."""
    ring = ring_of(case(seed))
    step = ring.pieces_per_beat
    wait = ring.depth * ring.row_beats * step + 20
    _, accepted, written = play(case(seed), PATTERNS["never"], np.arange(40_000) < wait)
    room = min(ring.depth * ring.row_beats, len(accepted))
    assert accepted[:room] == [(k + 1) * step - 1 for k in range(room)]
    if len(written) > ring.depth:
        assert accepted[room] >= wait


def test_pieces_cover_a_pixel_once():
    for seed in SEEDS:
        ring = ring_of(case(seed))
        node = ring.schedule.node
        tiles = ring.schedule.ci_tiles
        found = []
        for piece in ring.pieces:
            for k in range(piece.count):
                word, lane = divmod(piece.word * ring.lanes + piece.offset + k, ring.lanes)
                group, tile = divmod(word, tiles)
                found.append(group * (node.ci // node.groups) + tile * ring.lanes + lane)
        assert found == list(range(node.ci))
        assert len(ring.pieces) == ring.beats_per_pixel * ring.pieces_per_beat


def test_wrong_arguments():
    schedule = case(2).schedules[0]
    ci = schedule.node.ci
    for n in (0, ci + 1):
        message = f"layer: joint n must be between 1 and {ci}, not {n}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            RingLayout(schedule, n=n, depth=schedule.least_depth)
    message = f"layer: ring depth must be at least {schedule.least_depth}, not {schedule.least_depth - 1}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RingLayout(schedule, n=1, depth=schedule.least_depth - 1)
