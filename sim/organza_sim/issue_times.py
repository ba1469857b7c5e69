"""When an engine issues: first and last issue of every output unit, one class for each way in which lanes can wait."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from organza.plan import Work
from organza.program import Convolve
from organza.schedule import Schedule
from organza.time_sharing import TimeSharing
from organza.visits import WeightVisit
from organza_hw.codes import expander_of
from organza_hw.lane_walk import lane_fields
from organza_hw.sequencer import ADDRESS_LATENCY, address_latency
from organza_hw.weight_stream import StreamedWeights

NEVER = -(1 << 60)


class RowTimes:
    """Row order: a row takes the same cycles whenever it starts."""

    def __init__(self, schedule: Schedule):
        self.costs = schedule.unit_costs

    def run(self, number: int, earliest: int) -> tuple[int, int]:
        """First and last issue of the next unit, `number` in its image, which may start in cycle `earliest`."""
        return earliest, earliest + self.costs[number] - 1


class ImageTimes:
    """Weight order, lane words always there: only the first tile may wait for what the epilogue has left from before."""

    def __init__(self, schedule: Schedule):
        assert isinstance(schedule.visit, WeightVisit)
        self.alone, self.chained = schedule.visit.spans
        self.end = NEVER

    def run(self, number: int, earliest: int) -> tuple[int, int]:
        """As of `RowTimes`."""
        self.end = max(earliest + self.alone - 1, self.end + self.chained)
        return earliest, self.end


class StreamedImage:
    """One image of lanes whose words come from an expander: each pass waits for its word, and the expander for the lanes.

    A word is filled a place a cycle; places with a weight take `interval` cycles, the first of an image comes `latency` later.
    When full it moves up, if the word before has been used, and filling goes on in that cycle; a cycle later its pass may begin,
    and it is used with the first issue of the pass when that reaches the operands.
    """

    def __init__(self, schedule: Schedule):
        visit, kind = schedule.visit, expander_of(schedule.node.code)
        assert isinstance(visit, WeightVisit)
        self.interval, self.restart = kind.interval(schedule.node.code), kind.latency
        self.reach = address_latency(schedule) + StreamedWeights.latency
        fields, waits = iter(lane_fields(schedule)), self.interval - 1
        # By tile: cycles in which the epilogue empties the one before; cycles from the first field of each word to its last
        # place, and issues of its pass.
        drains = np.roll(visit.drains.reshape(-1), 1).tolist()
        self.tiles = [
            (drain, [(schedule.ti * schedule.to - 1 + waits * (next(fields) - 1), issues) for issues in passes])
            for drain, passes in zip(drains, visit.passes, strict=True)
        ]
        self.known: dict[StreamState, tuple[int, StreamState]] = {}

    @property
    def begin(self) -> StreamState:
        """The state behind the reset, for a first issue in cycle 0."""
        return StreamState(NEVER, self.restart + self.interval - 1, NEVER, NEVER)

    def run(self, state: StreamState) -> tuple[int, StreamState]:
        """First issue of an image that may start in cycle 0, and the state behind it."""
        if state not in self.known:
            self.known[state] = self._run(*state)
        return self.known[state]

    def _run(self, end: int, offered: int, moved: int, used: int) -> tuple[int, StreamState]:
        begun, at = None, 0
        for drain, passes in self.tiles:
            free = end + drain
            for word, (fill, issues) in enumerate(passes, 1):
                filled = max(moved, offered) + fill
                moved = max(filled + 1, used)
                start = max(at, moved + 1)
                at = start + issues
                if word == len(passes) and at <= free:  # the last issue waits for the epilogue
                    at = free + 1
                    start = start if issues > 1 else free
                used = start + self.reach
                offered = filled + self.interval
                begun = start if begun is None else begun
            if not passes:
                at = max(at, free) + 1
                begun = at - 1 if begun is None else begun
            end = at - 1
        assert begun is not None
        return begun, StreamState(end, offered + 1 + self.restart, moved, used)


class StreamState(NamedTuple):
    """Last issue of the latest tile; when the next field comes if nothing holds it up; when the latest word moved up, was used."""

    end: int
    offered: int
    moved: int
    used: int

    def later(self, cycles: int) -> StreamState:
        """The same, counted from a cycle that is so much earlier. What is long ago does not matter."""
        return StreamState(*(max(value + cycles, NEVER) for value in self))


@lru_cache(maxsize=64)
def _streamed_image(schedule: Schedule) -> StreamedImage:
    return StreamedImage(schedule)


class StreamTimes:
    """Weight order, lane words as a stream: `StreamedImage`, image after image."""

    def __init__(self, schedule: Schedule):
        self.image = _streamed_image(schedule)
        self.state = self.image.begin

    def run(self, number: int, earliest: int) -> tuple[int, int]:
        """As of `RowTimes`."""
        begun, state = self.image.run(self.state.later(-earliest))
        self.state = state.later(earliest)
        return begun + earliest, self.state.end


def least_pass(node: Convolve, ti: int, to: int) -> int:
    """Fewest cycles of a pass whose word comes as a stream: its places, and the way from one word to the next."""
    places = ti * to * expander_of(node.code).interval(node.code)
    return max(places, ADDRESS_LATENCY + StreamedWeights.latency + 1)


def engine_cycles(schedule: Schedule) -> int:
    """Cycles an image of an engine alone, image after image: the closed form, unless lane words come as a stream."""
    if not _waits(schedule):
        return schedule.cycles
    times, ends = StreamTimes(schedule), [-1]
    for _ in range(4):
        ends.append(times.run(0, ends[-1] + 1)[1])
    return ends[-1] - ends[-2]


def layer_cycles(work: Work) -> list[int]:
    """Cycles an image of every layer of an engine."""
    return list(map(sum, work.unit_costs)) if isinstance(work, TimeSharing) else [engine_cycles(work)]


def issue_times(schedule: Schedule) -> RowTimes | ImageTimes | StreamTimes:
    """The times of an engine."""
    if schedule.order == "row":
        return RowTimes(schedule)
    return StreamTimes(schedule) if _waits(schedule) else ImageTimes(schedule)


def _waits(schedule: Schedule) -> bool:
    """Whether lanes wait for words that are made. Those of a memory beside the chip are there in time, if that does not stall."""
    return schedule.streams and not schedule.external
