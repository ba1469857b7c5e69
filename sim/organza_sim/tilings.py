"""How many lanes of which shape a layer needs: all tilings that no other one beats, and the ones that suit each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import mul

import numpy as np

from organza.blocks import blocks, phases
from organza.geometry import Axis
from organza.program import Convolve
from organza.schedule import MOST_WORD_BITS, ceil_div
from organza.visits import PhaseSizes, spans, tile_issues
from organza_sim.issue_times import least_pass

HULL = 8  # choices of `quick_tilings`


@dataclass(frozen=True)
class Choice:
    """What is given of a layer before it is planned, see `organza.schedule.Schedule`; "" is the code's first choice."""

    arithmetic: str = ""
    order: str = "row"
    memory: str = ""


@dataclass(frozen=True, order=True)
class Tiling:
    """Ti × To × P lanes for a layer and the cycles they take; ordered by cycles, then lanes, then pixel lanes."""

    cycles: int
    lanes: int
    p: int
    to: int
    ti: int


def useful_tiles(extent: int, most: int) -> list[int]:
    """Smallest tile for each number of tiles that `extent` channels can be cut into, up to `most`."""
    return sorted({ceil_div(extent, tiles) for tiles in range(1, extent + 1) if ceil_div(extent, tiles) <= most})


def _pixel_sums(axis: Axis, most: int) -> dict[int, tuple[int, ...]]:
    """For every useful P: for each horizontal tap the blocks in which any pixel has it; blocks without any; blocks.

    Where blocks begin decides which taps their pixels share, so any P may be the best. Left out are those that no
    count speaks for against a smaller one.
    """
    made: dict[int, tuple[int, ...]] = {}
    for p in range(1, min(ceil_div(axis.output, axis.phases), most) + 1):
        row = blocks(axis, p)
        counts = Counter(tap.k for block in row for tap in block.taps)
        sums = *(counts[k] for k in range(axis.kernel)), sum(not block.taps for block in row), len(row)
        if not any(all(a <= b for a, b in zip(other, sums, strict=True)) for other in made.values()):
            made[p] = sums
    return made


def _lane_shapes(node: Convolve, most: int, arithmetic: str) -> list[tuple[int, int]]:
    """Useful (Ti, To) of at most `most` lanes, as far as the code leaves a choice."""
    fixed_ti, fixed_to = node.code.lane_shape
    cig, cog = node.ci // node.groups, node.co // node.groups
    most = min(most, MOST_WORD_BITS // node.code.field_bits)
    most_ti = node.code.most_ti(arithmetic, cig)

    def inputs(most: int) -> list[int]:
        if fixed_ti:
            return [fixed_ti]
        # Non-zeros of a unit can be any number, so any Ti may divide them best.
        return list(range(1, min(most_ti, most) + 1)) if node.code.gathers else useful_tiles(cig, min(most_ti, most))

    outputs = [fixed_to] if fixed_to else useful_tiles(cog, most // (fixed_ti or 1))
    return [(ti, to) for to in outputs for ti in inputs(most // to)]


def _least_lanes(node: Convolve) -> int:
    """Lanes without which a layer cannot run."""
    ti, to = node.code.lane_shape
    return (ti or 1) * (to or 1)


def _row_cycles(
    node: Convolve, arithmetic: str, pixel_sums: dict[int, tuple[int, ...]]
) -> Callable[[int, int, int], int]:
    """`Schedule.cycles` in row order by Ti, To, P, for enough epilogue units; `pixel_sums` by P."""
    empty_rows, rows = sum(not taps for taps in node.y.table), node.y.output

    @cache
    def column_issues(ti: int, to: int) -> list[int]:
        """Issues of every horizontal tap over all rows and co tiles, once a block that has it."""
        return (node.y.uses @ node.code.tap_issues(ti, to, node.groups).sum(0)).tolist()

    def cycles(ti: int, to: int, p: int) -> int:
        *column_blocks, empty_blocks, row_blocks = pixel_sums[p]
        empty = empty_rows * row_blocks + (rows - empty_rows) * empty_blocks
        co_tiles = node.groups * ceil_div(node.co // node.groups, to)
        pauses = rows * row_blocks * co_tiles * p * node.code.sum_cycles(arithmetic)
        return sum(map(mul, column_blocks, column_issues(ti, to))) + co_tiles * empty + pauses

    return cycles


def _weight_cycles(node: Convolve, memory: str) -> Callable[[int, int, int], int]:
    """`engine_cycles` in weight order by Ti, To, P, for enough epilogue units; of a stream nearly."""
    rows = PhaseSizes.of(phases(node.y, 1), node.y.kernel)

    @cache
    def columns(p: int) -> PhaseSizes:
        return PhaseSizes.of(phases(node.x, p), node.x.kernel)

    @cache
    def taps(ti: int, to: int) -> np.ndarray:
        return node.code.tap_issues(ti, to, node.groups)

    def cycles(ti: int, to: int, p: int) -> int:
        across, words = columns(p), taps(ti, to)
        tiles = tile_issues(rows, across, words)
        drains = np.broadcast_to(np.outer(rows.blocks, across.blocks) * p, tiles.shape)
        found = max(spans(tiles, drains))
        if memory == "stream":
            passes = np.outer(rows.with_tap.sum(0), across.with_tap.sum(0))
            slow = np.where(passes, np.maximum(passes, least_pass(node, ti, to)), 0)
            found = max(found, int((words * slow).sum()))
        return found

    return cycles


def _cycles(node: Convolve, choice: Choice, pixel_sums: dict[int, tuple[int, ...]]) -> Callable[[int, int, int], int]:
    """Cycles an image by Ti, To, P, for enough epilogue units."""
    if choice.order == "row":
        return _row_cycles(node, choice.arithmetic, pixel_sums)
    return _weight_cycles(node, choice.memory or node.code.memories(choice.order)[0])


def tilings(node: Convolve, budget: int, choice: Choice | None = None) -> list[Tiling]:
    """Tilings of a layer that no other one beats in both lanes and cycles, fewest lanes first.

    The closed form for enough epilogue units, evaluated for all tilings.
    """
    choice = choice or Choice()
    pixel_sums = _pixel_sums(node.x, min(budget, node.x.output))
    cycles = _cycles(node, choice, pixel_sums)
    found: dict[int, Tiling] = {}
    for p in pixel_sums:
        for ti, to in _lane_shapes(node, budget // p, choice.arithmetic):
            lanes = ti * to * p
            if lanes <= budget:
                option = Tiling(cycles(ti, to, p), lanes, p, to, ti)
                if lanes not in found or option < found[lanes]:
                    found[lanes] = option
    front: list[Tiling] = []
    for _, option in sorted(found.items()):
        if not front or option.cycles < front[-1].cycles:
            front.append(option)
    return front


def tilings_of_ti(
    node: Convolve, ti: int, most: int, choice: Choice, *, limits: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The fastest To and P of a layer with this Ti and To·P of at most `most`, of the same speed those with the fewest
    lanes; in whole groups of `Code.together`, so that a layer may leave lanes without channels. limits : the most To and P, if they have any.
    Raises ValueError for a Ti that the layer cannot have, and lanes that are not enough for one group."""
    arithmetic, cig, cog = choice.arithmetic, node.ci // node.groups, node.co // node.groups
    most_ti, group = node.code.most_ti(arithmetic, cig), node.code.together(arithmetic)
    if not 1 <= ti <= most_ti:
        raise ValueError(f"{node.name}: Ti must be between 1 and {most_ti}, not {ti}")
    most_to, most_p = limits or (most, most)
    if not group <= min(most, most_to, cog):
        raise ValueError(f"{node.name}: {arithmetic!r} lanes must have at least {group} output channels and C, not {min(most, most_to, cog)}")
    sums = _pixel_sums(node.x, min(most, most_p, node.x.output))
    cycles = _cycles(node, choice, sums)
    tiles = {min(ceil_div(to, group) * group, cog // group * group) for to in useful_tiles(cog, min(most, most_to))}
    options = [(cycles(ti, to, p), to * p, p, to) for p in sums for to in tiles if to * p <= most and to <= most_to]
    _, _, p, to = min(options)
    return to, p


def _fewest_lanes(fronts: list[list[Tiling]], interval: int) -> list[Tiling] | None:
    """The tiling with the fewest lanes of every layer that keeps to `interval` cycles."""
    chosen = [next((option for option in front if option.cycles <= interval), None) for front in fronts]
    return None if None in chosen else chosen  # type: ignore[return-value]


def lanes_of_layers(nodes: Sequence[Convolve]) -> int:
    """Lanes without which these layers cannot run."""
    return sum(map(_least_lanes, nodes))


def _fronts(nodes: Sequence[Convolve], budget: int, choices: Mapping[str, Choice] | None) -> list[list[Tiling]]:
    """`tilings` of every layer, as far as the others leave it lanes. Raises as `choose_tilings`."""
    least = lanes_of_layers(nodes)
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise TypeError(f"Lane budget must be an integer, not {budget!r}")
    if budget < least:
        fixed = "" if least == len(nodes) else " or what its code is made for"
        raise ValueError(f"Lane budget must be at least {least}, one for each layer{fixed}, not {budget}")
    choices = choices or {}
    return [tilings(node, budget - least + _least_lanes(node), choices.get(node.name)) for node in nodes]


def quick_tilings(nodes: Sequence[Convolve], budget: int, choices: Mapping[str, Choice] | None = None) -> list[list[Tiling]]:
    """Tilings of these layers whose cycles together are few for their lanes: those on the lower convex hull, at most `budget` lanes.

    A price of a lane in cycles, from high to low, decides for each layer by itself. Those with the most lanes come last, at most
    `HULL` of them. Raises as `choose_tilings`.
    """
    fronts = _fronts(nodes, budget, choices)
    prices = sorted({
        (a.cycles - b.cycles) / (b.lanes - a.lanes) for front in fronts for k, a in enumerate(front) for b in front[k + 1 :]
    }, reverse=True)  # fmt: skip
    made: list[list[Tiling]] = []
    for price in prices:
        chosen = [min(front, key=lambda option: option.cycles + price * option.lanes) for front in fronts]
        if sum(option.lanes for option in chosen) > budget:
            break
        if not made or chosen != made[-1]:
            made.append(chosen)
    return made[-HULL:]


def choose_tilings(nodes: Sequence[Convolve], budget: int, choices: Mapping[str, Choice] | None = None) -> list[Tiling]:
    """Tilings of these layers with the shortest possible interval on at most `budget` lanes, then with the fewest lanes.

    choices : what is given, by layer name.

    Raises ValueError when the budget is below one lane a layer.
    """
    fronts = _fronts(nodes, budget, choices)
    intervals = sorted({option.cycles for front in fronts for option in front})
    low, high = 0, len(intervals) - 1
    while low < high:  # the shortest interval that fits: lanes fall as the interval grows
        middle = (low + high) // 2
        chosen = _fewest_lanes(fronts, intervals[middle])
        if chosen and sum(option.lanes for option in chosen) <= budget:
            high = middle
        else:
            low = middle + 1
    chosen = _fewest_lanes(fronts, intervals[low])
    assert chosen is not None
    return chosen
