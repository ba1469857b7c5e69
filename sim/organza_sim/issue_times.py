"""When an engine issues: first and last issue of every output unit, one class for each way in which lanes can wait."""

from __future__ import annotations

from organza.schedule import Schedule
from organza.visits import WeightVisit

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


def issue_times(schedule: Schedule) -> RowTimes | ImageTimes:
    """The times of an engine."""
    return RowTimes(schedule) if schedule.order == "row" else ImageTimes(schedule)
