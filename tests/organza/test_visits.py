"""Both orders against their definitions: the same taps, each lane word once, and cycles walked one by one."""

from __future__ import annotations

import numpy as np
import pytest

from organza.blocks import blocks, phases
from organza.codes import Codebook
from organza.schedule import Schedule
from organza.visits import Needs, WeightVisit
from tests.organza.test_schedule import a_schedule
from tests.plans import random_schedule
from tests.strategies import random_axis, random_convolve

SEEDS = range(40)


def in_weight_order(seed: int, code: str = "linear") -> Schedule:
    rng = np.random.default_rng(seed)
    return random_schedule(rng, random_convolve(rng, code=code), orders=("weight",))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tap_belongs_to_one_phase(seed):
    rng = np.random.default_rng(seed)
    axis, p = random_axis(rng), int(rng.integers(1, 5))
    found = phases(axis, p)
    assert [block for phase in found for block in phase.blocks] == blocks(axis, p)
    taps = [k for phase in found for k in phase.taps]
    assert len(taps) == len(set(taps))
    assert set(taps) == {k for existing in axis.table for k, _ in existing}
    for phase in found:
        for k, having in phase.taps.items():
            assert [number for number, _ in having] == [n for n, b in enumerate(phase.blocks) if k in {t.k for t in b.taps}]
            assert all(tap in phase.blocks[number].taps for number, tap in having)


def walk(schedule: Schedule):
    """(co tile, phase, lane word or None, rows, columns) of every issue, from the definition of a Convolve alone."""
    node = schedule.node
    y_period, x_period = min(node.y.phases, node.y.output), min(node.x.phases, node.x.output)
    counts, word = schedule.tap_issues, {}
    for tap in np.ndindex(*counts.shape):
        word[tap] = sum(len(found) for found in word.values()) + np.arange(counts[tap])
    for tile in range(len(counts)):
        for py in range(y_period):
            for px in range(x_period):
                rows = range(py, node.y.output, y_period)
                columns = list(range(px, node.x.output, x_period))
                parts = [columns[k : k + schedule.p] for k in range(0, len(columns), schedule.p)]
                none = True
                for ky in range(node.y.kernel):
                    for kx in range(node.x.kernel):
                        with_row = [y for y in rows if ky in dict(node.y.taps(y))]
                        with_column = [part for part in parts if any(kx in dict(node.x.taps(x)) for x in part)]
                        for one in word[tile, ky, kx] if with_row and with_column else ():
                            none = False
                            yield from ((tile, (py, px), int(one), y, part) for y in with_row for part in with_column)
                if none:
                    yield tile, (py, px), None, None, None


def brute_cycles(schedule: Schedule, images: int) -> list[int]:
    """Last issue of every image, issue by issue: the last one of a tile waits until the tile before has been emptied."""
    node = schedule.node
    issues = [(tile, phase) for tile, phase, *_ in walk(schedule)]
    cycle, free, ends = -1, -1, []
    for _ in range(images):
        for number, (tile, (py, px)) in enumerate(issues):
            cycle += 1
            if number + 1 == len(issues) or issues[number + 1] != (tile, (py, px)):
                cycle = max(cycle, free)
                rows = len(range(py, node.y.output, min(node.y.phases, node.y.output)))
                columns = len(range(px, node.x.output, min(node.x.phases, node.x.output)))
                free = cycle + rows * -(-columns // schedule.p) * schedule.p * schedule.chunks
        ends.append(cycle)
    return ends


@pytest.mark.parametrize("seed", SEEDS)
def test_issues_and_cycles_follow_the_definition(seed):
    schedule = in_weight_order(seed)
    found = list(walk(schedule))
    assert schedule.issues == len(found)
    alone, _ = schedule.visit.spans
    ends = brute_cycles(schedule, 3)
    assert ends[0] == alone - 1
    assert ends[2] - ends[1] == schedule.cycles == sum(schedule.unit_costs)
    assert schedule.visit.waits or schedule.cycles == schedule.issues
    # Each lane word that anything reads comes once, and all its issues follow each other.
    words = [word for *_, word, _, _ in found if word is not None]
    order = [word for number, word in enumerate(words) if number == 0 or words[number - 1] != word]
    assert len(order) == len(set(order))
    assert sum(schedule.visit.passes, []) == [words.count(word) for word in order]


@pytest.mark.parametrize("seed", SEEDS)
def test_both_orders_issue_the_same(seed):
    """But for what has no tap: a tile of row order without one, and a tile of weight order."""
    row = a_schedule(seed)
    weight = Schedule(node=row.node, ti=row.ti, to=row.to, p=row.p, e=row.e, order="weight")
    assert isinstance(weight.visit, WeightVisit)
    null = sum(not tile for tile in weight.visit.passes)
    rows_without = sum(not taps for taps in row.node.y.table)
    blocks_without = sum(not block.taps for block in row.blocks)
    rows, columns = row.node.y.output, len(row.blocks)
    tiles_without = rows * columns - (rows - rows_without) * (columns - blocks_without)
    assert weight.issues - null == row.issues - row.co_tiles * tiles_without
    assert weight.units == 1 and row.units == row.node.y.output
    assert weight.needs == [Needs(row.node.y.size, row.node.y.size)]
    assert weight.least_depth == row.node.y.size


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_holds_every_word_that_is_used_once(seed):
    schedule = in_weight_order(seed, code="hashed")
    streamed = Schedule(node=schedule.node, ti=schedule.ti, to=schedule.to, p=schedule.p, e=schedule.e, order="weight")
    assert streamed.memory == "stream"
    words = [word for *_, word, _, _ in walk(streamed) if word is not None]
    order = list(dict.fromkeys(words))
    if order:
        assert streamed.streamed_words.tolist() == order
    else:  # a layer without any tap: words of the first one, which nobody takes
        assert streamed.visit.taps == [(0, 0)] and len(streamed.streamed_words)
    assert streamed.buffer_bits == 2 * 8 * streamed.ti * streamed.to
    expanded = Schedule(node=schedule.node, ti=schedule.ti, to=schedule.to, order="weight", memory="expand")
    assert expanded.streamed_words is None
    assert expanded.buffer_bits == 8 * expanded.ti * expanded.to * expanded.tap_issues.sum()


def test_wrong_orders_and_memories():
    node = random_convolve(np.random.default_rng(0))
    with pytest.raises(ValueError, match="^layer: order must be 'row' or 'weight', not 'column'$"):
        Schedule(node=node, ti=1, to=1, order="column")
    with pytest.raises(ValueError, match="^layer: memory of a linear code in weight order must be 'rom' or 'external', not 'stream'$"):
        Schedule(node=node, ti=1, to=1, order="weight", memory="stream")
    serial = random_convolve(np.random.default_rng(0), code="huffman")
    assert Schedule(node=serial, ti=1, to=1).memory == "expand"
    with pytest.raises(ValueError, match="^layer: memory of a huffman code in row order must be 'expand', not 'stream'$"):
        Schedule(node=serial, ti=1, to=1, memory="stream")
    with pytest.raises(
        ValueError, match="^layer: memory of a huffman code in weight order must be 'stream' or 'expand', not 'rom'$"
    ):
        Schedule(node=serial, ti=1, to=1, order="weight", memory="rom")


def test_bins_have_no_weight_order():
    node = next(
        made for made in (random_convolve(np.random.default_rng(seed), code="codebook") for seed in range(9))
        if isinstance(made.code, Codebook)
    )  # fmt: skip
    with pytest.raises(ValueError, match="^layer: order of 'bins' lanes must be 'row', not 'weight'$"):
        Schedule(node=node, ti=1, to=1, arithmetic="bins", order="weight")
    assert Schedule(node=node, ti=1, to=1, order="weight").arithmetic == "plain"
