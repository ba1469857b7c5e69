# amaranth: UnusedElaboratable=no
"""The issue stream against a list made from the definition of a Convolve, not from `organza.schedule`."""

import math

import pytest

from organza_hw.orders import tables_of
from organza_hw.row_buffer import RingLayout
from organza_hw.sequencer import ADDRESS_LATENCY, RELEASE_LATENCY, Sequencer
from organza_sim.pysim import trace_cycles
from tests.organza.test_visits import walk
from tests.organza_hw.patterns import PATTERNS
from tests.organza_sim.layer_cases import case
from tests.plans import ORDERS

IMAGES = 3
SEEDS = [(seed, "row") for seed in range(21)] + [(seed, "weight") for seed in range(10)]


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
    """Every issue of one image by the definition alone: fields of the issue, lane word, what each pixel lane reads."""
    yield from (in_row_order(schedule, beats) if schedule.order == "row" else in_weight_order(schedule))


def in_row_order(schedule, beats):
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
                    fields = {"first": number == 0, "last": number == len(issues) - 1, "unit_end": False, "word": False,
                              "constant": tile * schedule.chunks, "pixel": columns[0] * beats, "pixels": len(columns)}  # fmt: skip
                    row.append({"fields": fields, "word": word, "lanes": lanes})
        row[-1]["fields"]["unit_end"] = True
        yield from row


def in_weight_order(schedule):
    node = schedule.node
    ci_tiles = math.ceil(node.ci // node.groups / schedule.ti)
    y_period, x_period = min(node.y.phases, node.y.output), min(node.x.phases, node.x.output)
    widest = math.ceil(math.ceil(node.x.output / x_period) / schedule.p)  # blocks of the first phase of columns
    found, loaded, at = [], set(), None
    for tile, (py, px), word, y, columns in walk(schedule):
        fields = {"first": True, "last": False, "unit_end": False, "word": False}
        lanes: list = [None] * schedule.p
        if word is not None and columns is not None:
            ky, kx = divmod(word // ci_tiles % (node.y.kernel * node.x.kernel), node.x.kernel)
            channel = tile // (schedule.co_tiles // node.groups) * ci_tiles + word % ci_tiles
            for lane, x in enumerate(columns):
                column = tap(node.x, x, kx)
                lanes[lane] = None if column is None else (tap(node.y, y, ky), column, channel)
            place = y // y_period * widest + columns[0] // x_period // schedule.p
            sums = tile, py, px, place
            fields |= {"first": sums not in loaded, "word": not found or found[-1]["word"] != word, "place": place}
            loaded.add(sums)
        if found and (tile, py, px) != at:
            found[-1]["fields"]["last"] = True
        at = tile, py, px
        found.append({"fields": fields, "word": word, "lanes": lanes})
    found[-1]["fields"] |= {"last": True, "unit_end": True}
    yield from found


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
    component = Sequencer(tables_of(ring, pixel_beats=3))
    seen: list[tuple] = []
    rows_in, units_out = schedule.node.y.size * IMAGES, schedule.units * IMAGES

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
                quiet = 0 if issue.valid or ended < units_out else quiet + 1
            arrives = arrived < rows_in and arrived - released < ring.depth and not idle[cycle % len(idle)]
            leaves = freed < ended and not pressure[cycle % len(pressure)]
            arrived, freed = arrived + arrives, freed + leaves
            yield {"row_written": arrives, "unit_freed": leaves}
        assert (released, freed) == (rows_in, units_out)

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


def check(seed, idle, pressure, order="row"):
    chosen = case(seed, orders=(order,))
    schedule, ring, seen = play(chosen, idle, pressure)
    node = schedule.node
    issued = [(issue, addresses, word) for issue, _, addresses, word in seen if issue.valid]
    image = list(expected(schedule, 3))
    assert order == "weight" or len(image) == closed_form(schedule)
    assert len(issued) == IMAGES * len(image)  # and not one more in 100 cycles
    for number, (issue, addresses, word) in enumerate(issued):
        wanted = image[number % len(image)]
        rows_before = number // len(image) * node.y.size
        assert {name: getattr(issue, name) for name in wanted["fields"]} == wanted["fields"]
        assert wanted["word"] is None or word == wanted["word"]
        lanes = [lane and ((rows_before + lane[0]) % ring.depth, *lane[1:]) for lane in wanted["lanes"]]
        assert decode(ring, issue, addresses, node.x.pitch) == lanes
    return schedule, seen


@pytest.mark.parametrize("seed, order", SEEDS)
def test_every_existing_tap_once_and_no_other(seed, order):
    names = list(PATTERNS)
    check(seed, PATTERNS[names[seed % 4]], PATTERNS[names[seed // 4 % 4]], order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("idle", PATTERNS)
@pytest.mark.parametrize("pressure", PATTERNS)
def test_patterns_crossed(idle, pressure, order):
    check(2, PATTERNS[idle], PATTERNS[pressure], order)


@pytest.mark.parametrize("seed, order", SEEDS)
def test_no_gap_inside_a_unit_and_exact_latency(seed, order):
    schedule, seen = check(seed, PATTERNS["never"], PATTERNS["never"], order)
    cycles, units = [], []
    for cycle, (issue, release, _, _) in enumerate(seen):
        if issue.valid:
            cycles.append(cycle)
            if issue.unit_end:
                units.append((cycles[0], cycle))
                cycles = []
        if release:
            # RELEASE_LATENCY - 1 cycles after the issue, which shows at `valid` ADDRESS_LATENCY cycles after it.
            assert cycle == unit_end_near(seen, cycle) - ADDRESS_LATENCY + RELEASE_LATENCY - 1
    costs = schedule.unit_costs * IMAGES
    if schedule.issues == schedule.cycles:
        assert [end - begin + 1 for begin, end in units] == costs
    else:  # the last issue of a short first tile waits for the epilogue
        assert all(end - begin < cost for (begin, end), cost in zip(units, costs, strict=True))
    # Rows written from cycle 0 on let the first unit start in the cycle after the last one that it needs.
    if schedule.issues == schedule.cycles:
        assert units[0][0] == schedule.needs[0].window + ADDRESS_LATENCY


def unit_end_near(seen, cycle):
    """The cycle near `cycle` in which the last issue of a unit shows."""
    near = range(max(cycle - 2, 0), cycle + 3)
    return next(k for k in near if seen[k][0].valid and seen[k][0].unit_end)
