# amaranth: UnusedElaboratable=no
"""The issue stream against a list made from the definition of a Convolve, not from `organza.schedule`."""

import math

import pytest

from organza_hw.orders import tables_of
from organza_hw.row_buffer import RingLayout
from organza_hw.sequencer import ADDRESS_LATENCY, RELEASE_LATENCY, Sequencer
from organza_sim.pysim import trace_cycles
from tests.organza_hw.patterns import PATTERNS
from tests.organza_sim.layer_cases import case

IMAGES = 3
SEEDS = range(21)


def tap(axis, position, k):
    """The input position that tap k of an output position reads, or None."""
    distance = position * axis.down + axis.crop_before - k
    if distance % axis.up or not 0 <= distance // axis.up < axis.size:
        return None
    return distance // axis.up


def blocks_of(axis, p):
    """Output columns of every block: P consecutive ones of the same phase."""
    period = axis.up // math.gcd(axis.up, axis.down)
    for phase in range(period):
        columns = list(range(phase, axis.output, period))
        yield from (columns[k : k + p] for k in range(0, len(columns), p))


def expected(schedule, beats):
    """Every issue of one image: (kind of step, what each pixel lane reads), by the definition alone."""
    node = schedule.node
    ci_tiles = math.ceil(node.ci // node.groups / schedule.ti)
    co_tiles = math.ceil(node.co // node.groups / schedule.to)
    for y in range(node.y.output):
        rows = [(k, tap(node.y, y, k)) for k in range(node.y.kernel) if tap(node.y, y, k) is not None]
        row = []
        for tile in range(node.groups * co_tiles):
            group = tile // co_tiles
            for columns in blocks_of(node.x, schedule.p):
                issues = []
                for ky, iy in rows:
                    for kx in range(node.x.kernel):
                        lanes = [tap(node.x, x, kx) for x in columns]
                        if all(column is None for column in lanes):
                            continue
                        lanes += [None] * (schedule.p - len(columns))
                        for c in range(ci_tiles):
                            word = ((tile * node.y.kernel + ky) * node.x.kernel + kx) * ci_tiles + c
                            issues.append((word, [None if column is None else (iy, column, group * ci_tiles + c)
                                                  for column in lanes]))  # fmt: skip
                if not issues:
                    issues = [(None, [None] * schedule.p)]
                for number, (word, lanes) in enumerate(issues):
                    row.append({"first": number == 0, "last": number == len(issues) - 1, "unit_end": False, "tile": tile,
                                "pixel": columns[0] * beats, "pixels": len(columns), "word": word, "lanes": lanes})  # fmt: skip
        row[-1]["unit_end"] = True
        yield from row


def closed_form(schedule):
    """cycles of design §6: groups · ceil · ceil · Σ taps(Y) · Σ |∪ taps(X)|, and one for every tile without a tap."""
    node = schedule.node
    tiles = node.groups * math.ceil(node.co // node.groups / schedule.to)
    ci_tiles = math.ceil(node.ci // node.groups / schedule.ti)
    unions = [{k for x in columns for k in range(node.x.kernel) if tap(node.x, x, k) is not None}
              for columns in blocks_of(node.x, schedule.p)]  # fmt: skip
    rows = [sum(tap(node.y, y, k) is not None for k in range(node.y.kernel)) for y in range(node.y.output)]
    return tiles * sum(max(taps * len(union) * ci_tiles, 1) for taps in rows for union in unions)


def play(chosen, idle, pressure):
    """Run the sequencer with rows that arrive and leave by the patterns; what it did in every cycle."""
    schedule = chosen.schedules[0]
    ring = RingLayout(schedule, n=1, depth=chosen.plan.joints[0].depth)
    component = Sequencer(tables_of(ring, pixel_beats=3), weight_words=len(
        schedule.node.code.words(schedule.ti, schedule.to, schedule.node.groups)))  # fmt: skip
    seen: list[tuple] = []
    rows_in, rows_out = schedule.node.y.size * IMAGES, schedule.node.y.output * IMAGES

    def drive():
        arrived = released = ended = freed = 0
        quiet = 0
        while quiet < 100:
            cycle = len(seen)
            assert cycle < 60_000, "the sequencer hangs"
            if seen:
                issue, release = seen[-1][0], seen[-1][1]
                released += release
                ended += issue.valid & issue.unit_end
                quiet = 0 if issue.valid or ended < rows_out else quiet + 1
            arrives = arrived < rows_in and arrived - released < ring.depth and not idle[cycle % len(idle)]
            leaves = freed < ended and not pressure[cycle % len(pressure)]
            arrived, freed = arrived + arrives, freed + leaves
            yield {"row_written": arrives, "unit_freed": leaves}
        assert (released, freed) == (rows_in, rows_out)

    trace_cycles(component, drive(), ["issue", "release", "ring_addr", "weight_addr"], seen)
    return schedule, ring, seen


def decode(ring, issue, addresses, pitch):
    """What every pixel lane reads: slot of the ring, input column, word of the pixel."""
    lanes = []
    for lane in range(ring.schedule.p):
        if not issue.mask[lane]:
            lanes.append(None)
            continue
        bank = (issue.turn + lane * pitch) % ring.banks
        slot, rest = divmod(addresses[bank], ring.row_words)
        column, word = divmod(rest, ring.pixel_words)
        lanes.append((slot, column * ring.banks + bank, word))
    return lanes


def check(seed, idle, pressure):
    chosen = case(seed)
    schedule, ring, seen = play(chosen, idle, pressure)
    node = schedule.node
    issued = [(issue, addresses, word) for issue, _, addresses, word in seen if issue.valid]
    image = list(expected(schedule, 3))
    assert len(image) == closed_form(schedule)
    assert len(issued) == IMAGES * len(image)  # and not one more in 100 cycles
    for number, (issue, addresses, word) in enumerate(issued):
        wanted = image[number % len(image)]
        rows_before = number // len(image) * node.y.size
        assert {name: getattr(issue, name) for name in ("first", "last", "unit_end", "pixel", "pixels")} == {
            name: wanted[name] for name in ("first", "last", "unit_end", "pixel", "pixels")}  # fmt: skip
        assert issue.constant == wanted["tile"] * schedule.chunks
        assert wanted["word"] is None or word == wanted["word"]
        lanes = [lane and ((rows_before + lane[0]) % ring.depth, *lane[1:]) for lane in wanted["lanes"]]
        assert decode(ring, issue, addresses, node.x.pitch) == lanes
    return schedule, seen


@pytest.mark.parametrize("seed", SEEDS)
def test_every_existing_tap_once_and_no_other(seed):
    names = list(PATTERNS)
    check(seed, PATTERNS[names[seed % 4]], PATTERNS[names[seed // 4 % 4]])


@pytest.mark.parametrize("idle", PATTERNS)
@pytest.mark.parametrize("pressure", PATTERNS)
def test_patterns_crossed(idle, pressure):
    check(2, PATTERNS[idle], PATTERNS[pressure])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_gap_inside_a_row_and_exact_latency(seed):
    schedule, seen = check(seed, PATTERNS["never"], PATTERNS["never"])
    cycles, rows = [], []
    for cycle, (issue, release, _, _) in enumerate(seen):
        if issue.valid:
            cycles.append(cycle)
            if issue.unit_end:
                rows.append((cycles[0], cycle))
                cycles = []
        if release:
            # RELEASE_LATENCY - 1 cycles after the issue, which shows at `valid` ADDRESS_LATENCY cycles after it.
            assert cycle == rows_end_of(seen, cycle) - ADDRESS_LATENCY + RELEASE_LATENCY - 1
    costs = schedule.unit_costs * IMAGES
    if schedule.issues == schedule.cycles:
        assert [end - begin + 1 for begin, end in rows] == costs
    else:  # the last issue of a short first tile waits for the epilogue
        assert all(end - begin < cost for (begin, end), cost in zip(rows, costs, strict=True))
    # One row written in cycle 0 lets the first row start in cycle 1 if it needs no more.
    if schedule.needs[0].window == 1 and schedule.issues == schedule.cycles:
        assert rows[0][0] == 1 + ADDRESS_LATENCY


def rows_end_of(seen, cycle):
    """The cycle near `cycle` in which the last issue of a row shows."""
    near = range(max(cycle - 2, 0), cycle + 3)
    return next(k for k in near if seen[k][0].valid and seen[k][0].unit_end)
