"""The cycle model: exact clock cycles of a pipeline without simulating it.

A max-plus recurrence over (engine, row). Inside a row nothing can wait: a ring takes a row whole, an output row starts
only when it has a place, and a finished row leaves in one burst. So every event of a row is a maximum of earlier events
plus a constant, and the constants are those of the gateware.

Cycle numbers count clock cycles; an event's number is the cycle in which it happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from organza.plan import JointPlan, Plan
from organza.program import Program
from organza.schedule import Schedule
from organza_hw.engine import output_latency
from organza_hw.row_buffer import RingLayout
from organza_hw.sequencer import OUTPUT_ROWS, RELEASE_LATENCY

NEVER = -(1 << 60)


@dataclass
class EngineTimes:
    """Events of every row of one engine, over all images.

    accepted : cycle that takes the last beat of an input row. start, end : first and last issue of an output row.
    """

    accepted: list[int] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)


@dataclass
class Timing:
    """What `simulate_cycles` found.

    first : cycle that takes the first input beat. sent : cycle of the last output beat of every image.
    """

    first: int
    sent: list[int]
    engines: list[EngineTimes]

    @property
    def cycles(self) -> int:
        """First input beat accepted to last output beat accepted, all images."""
        return self.sent[-1] - self.first

    @property
    def latency(self) -> int:
        """The same for the first image."""
        return self.sent[0] - self.first

    @property
    def interval(self) -> int:
        """Last output of the last but one image to that of the last; of a single image its latency."""
        return self.sent[-1] - self.sent[-2] if len(self.sent) > 1 else self.latency


class _Engine:
    """State of the recurrence for one engine."""

    def __init__(self, schedule: Schedule, before: JointPlan, after: JointPlan):
        node = schedule.node
        self.ring = RingLayout(schedule, n=before.n, depth=before.depth)
        self.costs, self.needs = schedule.row_costs, schedule.rows
        self.latency = output_latency(schedule)
        self.row_beats = self.ring.row_beats
        self.beat_cycles = self.ring.pieces_per_beat
        self.out_beats = node.x.output * -(-node.co // after.n)
        self.height_in, self.height_out = node.y.size, node.y.output
        self.times = EngineTimes()
        self.freed: list[int] = []  # by input row: cycle from which its slot can be taken
        self.left: list[int] = []  # by output row: cycle that reads its last beat
        self.row = 0  # next output row, over all images
        self.held = 0  # input rows given up
        self.sent: list[int] = []  # by output row: cycle that takes its last beat downstream

    def take_row(self, offered: int) -> int:
        """A row whose first beat is offered from cycle `offered` on; the cycle that takes its last beat."""
        rows = self.times.accepted
        start = max(offered, rows[-1] + 1 if rows else NEVER)
        number = len(rows) - self.ring.depth
        if number >= 0:
            start = max(start, self.freed[number])
        rows.append(start + self.row_beats * self.beat_cycles - 1)
        return rows[-1]

    def can_take(self) -> bool:
        """Is the release of the slot that the next row needs already known?"""
        return len(self.times.accepted) - self.ring.depth < len(self.freed)

    def compute_row(self) -> int | None:
        """Run the next output row; the cycle of its completing write, or None if its inputs are not known yet."""
        y = self.row % self.height_out
        need = self.held + self.needs[y].window
        waits_for = self.row - OUTPUT_ROWS
        if need > len(self.times.accepted) or waits_for >= len(self.left):
            return None
        start = self.times.end[-1] + 1 if self.times.end else 0
        if need:
            start = max(start, self.times.accepted[need - 1] + 1)
        if waits_for >= 0:
            start = max(start, self.left[waits_for] + 1)
        end = start + self.costs[y] - 1
        self.times.start.append(start)
        self.times.end.append(end)
        self.held += self.needs[y].release
        self.freed += [end + RELEASE_LATENCY] * self.needs[y].release
        self.row += 1
        return end + self.latency


def simulate_cycles(program: Program, plan: Plan, images: int) -> Timing:
    """Exact times of `images` images with the source always valid and the sink always ready.

    Raises ValueError when the Plan does not fit the Program, or deadlocks.
    """
    return run_recurrence(plan.schedules(program), plan.joints, images)


def run_recurrence(schedules: list[Schedule], joints: tuple[JointPlan, ...], images: int) -> Timing:
    """`simulate_cycles` for schedules and joints that are not a Plan yet."""
    engines = [_Engine(*parts) for parts in zip(schedules, joints, joints[1:], strict=False)]
    rows_left = engines[0].height_in * images
    done: list[list[int]] = [[] for _ in engines]  # by engine and output row: completing write
    first = None
    total = [engine.height_out * images for engine in engines]
    moved = True
    while moved:
        moved = False
        while rows_left and engines[0].can_take():
            accepted = engines[0].take_row(0)
            if first is None:
                first = accepted - (engines[0].row_beats - 1) * engines[0].beat_cycles
            rows_left -= 1
            moved = True
        for k, engine in enumerate(engines):
            consumer = engines[k + 1] if k + 1 < len(engines) else None
            while True:
                progressed = False
                if engine.row < total[k]:
                    write = engine.compute_row()
                    if write is not None:
                        done[k].append(write)
                        progressed = True
                if len(engine.sent) < len(done[k]) and (consumer is None or consumer.can_take()):
                    _send_row(engine, consumer, done[k][len(engine.sent)])
                    progressed = True
                if not progressed:
                    break
                moved = True
    if len(engines[-1].sent) < total[-1]:
        raise ValueError("Plan deadlocks: a ring is too shallow for its layer")
    height = engines[-1].height_out
    sent = engines[-1].sent[height - 1 :: height]
    return Timing(first or 0, sent, [engine.times for engine in engines])


def _send_row(engine: _Engine, consumer: _Engine | None, write: int) -> None:
    """Move one finished output row on: read from the cycle after `write`, offered one cycle later."""
    before = engine.sent[-1] if engine.sent else NEVER
    read = max(write + 1, before)
    beat = 1
    if consumer is None:
        taken = read + engine.out_beats
    else:
        beat = consumer.beat_cycles
        taken = consumer.take_row(read + 1)
    engine.sent.append(taken)
    # The last beat is read in the cycle that takes the one before it.
    engine.left.append(taken - beat if engine.out_beats > 1 else read)
