"""When an engine issues: first and last issue of every output unit, one class for each way in which lanes can wait."""

from __future__ import annotations

import numpy as np

from organza.schedule import Schedule
from organza.visits import WeightVisit
from organza_hw.codes import expander_of
from organza_hw.lane_walk import lane_fields
from organza_hw.sequencer import address_latency
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


class StreamTimes:
    """Weight order, lane words from an expander: each pass waits for its word, and the expander for the lanes.

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
        self.end = NEVER  # last issue of the latest tile
        self.offered = self.restart + waits  # the next field, if nothing holds it up
        self.moved = self.used = NEVER  # the latest word

    def run(self, number: int, earliest: int) -> tuple[int, int]:
        """As of `RowTimes`."""
        begun, at = None, earliest
        for drain, passes in self.tiles:
            free = self.end + drain
            for word, (fill, issues) in enumerate(passes, 1):
                filled = max(self.moved, self.offered) + fill
                self.moved = max(filled + 1, self.used)
                start = max(at, self.moved + 1)
                at = start + issues
                if word == len(passes) and at <= free:  # the last issue waits for the epilogue
                    at = free + 1
                    start = start if issues > 1 else free
                self.used = start + self.reach
                self.offered = filled + self.interval
                begun = start if begun is None else begun
            if not passes:
                at = max(at, free) + 1
                begun = at - 1 if begun is None else begun
            self.end = at - 1
        self.offered += 1 + self.restart
        assert begun is not None
        return begun, self.end


def engine_cycles(schedule: Schedule) -> int:
    """Cycles an image of an engine alone, image after image: the closed form, unless lane words come as a stream."""
    if not schedule.streams:
        return schedule.cycles
    times, ends = StreamTimes(schedule), [-1]
    for _ in range(4):
        ends.append(times.run(0, ends[-1] + 1)[1])
    return ends[-1] - ends[-2]


def issue_times(schedule: Schedule) -> RowTimes | ImageTimes | StreamTimes:
    """The times of an engine."""
    if schedule.order == "row":
        return RowTimes(schedule)
    return StreamTimes(schedule) if schedule.streams else ImageTimes(schedule)
