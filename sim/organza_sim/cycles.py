"""The cycle model: exact clock cycles of a pipeline without simulating it.

A max-plus recurrence over (engine, row). A ring takes a row whole, an output unit (a row, or an image in weight order)
starts only when it has a place, and a finished row leaves in one burst. So every event is a maximum of earlier events
plus a constant, and the constants are those of the gateware.

Cycle numbers count clock cycles; an event's number is the cycle in which it happens. Cycle 0 is the first one after
reset, and the source offers from it on. An engine that expands its weights takes rows meanwhile, but issues nothing
before `load_cycles`; so the first image's latency holds what of the expansion it has to wait for, later ones none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from organza.formats import Managed
from organza.plan import JointPlan, Plan, Work, schedules_of
from organza.program import Convolve, Program
from organza.run_length import block_sizes
from organza.schedule import Schedule
from organza.time_sharing import IMAGE_GAP, TimeSharing
from organza_hw.engine import output_latency
from organza_hw.row_buffer import RingLayout
from organza_hw.sequencer import OUTPUT_UNITS, release_latency
from organza_hw.shared.engine import LEAD, shared_latency
from organza_hw.shared.frames import FrameLayout
from organza_hw.weights import load_cycles
from organza_sim.issue_times import NEVER, issue_times

Opening = Callable[[int], int]


def next_open(stalls: np.ndarray) -> Opening:
    """For a stall trace (entry c modulo the length: stalled in cycle c) the first cycle from c on that is not stalled."""
    stalls = np.asarray(stalls)
    if stalls.dtype != bool or stalls.ndim != 1 or not len(stalls) or stalls.all():
        raise ValueError("Stall trace must be booleans of one dimension with at least one cycle that is not stalled")
    length, wait = len(stalls), 0
    waits = [0] * length
    for cycle in reversed(range(2 * length)):
        wait = wait + 1 if stalls[cycle % length] else 0
        waits[cycle % length] = wait
    return lambda cycle: cycle + waits[cycle % length]


class _CodedJoint:
    """Blocks on their way through a run-length coded joint: an encoder holds two, a decoder none."""

    def __init__(self, row_beats: int):
        self.sizes = block_sizes(row_beats)
        self.filled = NEVER  # cycle that takes the last beat of the latest block
        self.left = (NEVER, NEVER)  # cycles in which the last beats of the two latest blocks leave

    def _fill(self, offered: int, size: int) -> None:
        self.filled = max(offered, self.filled + 1, self.left[0] + 1) + size - 1

    def pass_row(self, offered: int, consumer: _Engine) -> tuple[int, int]:
        """A row offered from cycle `offered` on: the cycles that take its last beat but one, and its last."""
        rest, at, before = sum(self.sizes), NEVER, NEVER
        for number, size in enumerate(self.sizes):
            before = self.filled
            self._fill(offered, size)
            if number == 0:
                at = consumer.take_row(self.filled + 1)
            rest -= size
            self.left = (self.left[1], at - rest * consumer.beat_cycles)
        return (self.filled - 1 if self.sizes[-1] > 1 else before), self.filled


@dataclass
class EngineTimes:
    """Events of every row of one engine, over all images.

    accepted : cycle that takes the last beat of an input row. start, end : first and last issue of an output unit.
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
        self._begin(schedule, RingLayout(schedule, n=before.n, depth=before.depth), schedule.node, after)
        self.issues = issue_times(schedule)
        self.needs, self.unit_rows = schedule.needs, schedule.visit.unit_rows
        self.latency, self.release = output_latency(schedule), release_latency(schedule)
        self.loaded = load_cycles(schedule)

    def _begin(self, work: Work, ring: RingLayout, last: Convolve, after: JointPlan) -> None:
        self.ring = ring
        self.row_beats = ring.row_beats
        self.beat_cycles = ring.pieces_per_beat
        self.out_beats = last.x.output * -(-last.co // after.n)
        self.coded = _CodedJoint(self.out_beats) if after.coding == "rle" else None
        self.headers = isinstance(last.output, Managed)
        self.height_in, self.height_out = schedules_of(work)[0].node.y.size, last.y.output
        self.times = EngineTimes()
        self.first: int | None = None  # cycle that takes the first beat
        self.freed: list[int] = []  # by input row: cycle from which its slot can be taken
        self.left: list[int] = []  # by output row: cycle that reads its last beat
        self.unit = 0  # next output unit, over all images
        self.held = 0  # input rows given up
        self.sent: list[int] = []  # by output row: cycle that takes its last beat downstream

    def take_row(self, offered: int, opening: Opening | None = None) -> int:
        """A row whose first beat is offered from cycle `offered` on; the cycle that takes its last beat.

        `opening` says when a source that pauses offers its next beat.
        """
        rows = self.times.accepted
        start = max(offered, rows[-1] + 1 if rows else NEVER)
        if opening:
            start = opening(start)
        number = len(rows) - self.ring.depth
        if number >= 0:
            start = max(start, self.freed[number])
        if self.first is None:
            self.first = start + self.beat_cycles - 1
        if opening:
            for _ in range(self.row_beats - 1):
                start = opening(start + self.beat_cycles)
            rows.append(start + self.beat_cycles - 1)
        else:
            rows.append(start + self.row_beats * self.beat_cycles - 1)
        return rows[-1]

    def can_take(self) -> bool:
        """Is the release of the slot that the next row needs already known?"""
        return len(self.times.accepted) - self.ring.depth < len(self.freed)

    def compute_unit(self) -> int | None:
        """Run the next output unit; the cycle of its completing write, or None if its inputs are not known yet."""
        number = self.unit % len(self.needs)
        need = self.held + self.needs[number].window
        waits_for = (self.unit - OUTPUT_UNITS + 1) * self.unit_rows - 1  # the row that gives up a place
        if need > len(self.times.accepted) or waits_for >= len(self.left):
            return None
        start = self.times.end[-1] + 1 if self.times.end else self.loaded
        if need:
            start = max(start, self.times.accepted[need - 1] + 1)
        if waits_for >= 0:
            start = max(start, self.left[waits_for] + 1)
        start, end = self.issues.run(number, start)
        self.times.start.append(start)
        self.times.end.append(end)
        self.held += self.needs[number].release
        self.freed += [end + self.release] * self.needs[number].release
        self.unit += 1
        return end + self.latency


class _SharedEngine(_Engine):
    """The same for several layers; a unit is one of the last layer, and the first has all that comes before it too."""

    def __init__(self, shared: TimeSharing, before: JointPlan, after: JointPlan):
        self._begin(shared, FrameLayout(shared, n=before.n).rings[0], shared.layers[-1].node, after)
        last = shared.layers[-1]
        self.unit_rows, self.units = last.visit.unit_rows, last.units
        self.costs, self.opening, self.rows = shared.unit_costs, shared.opening, shared.rows
        self.chained = shared.chained if shared.order == "weight" else NEVER
        self.gaps = [shared_latency(shared, schedule) + 1 - LEAD for schedule in shared.layers[:-1]]
        self.latency = shared_latency(shared, last)
        self.ready: int | None = None  # cycle in which the last layer of the image in hand can begin
        self.began = 0

    def compute_unit(self) -> int | None:
        number = self.unit % self.units
        if number == 0 and self.ready is None:
            images = self.unit // self.units + 1
            if len(self.times.accepted) < images * self.height_in:
                return None
            before = self.times.end[-1] if self.times.end else NEVER
            start = max(before + 1, 0)
            start = max(start + IMAGE_GAP, self.times.accepted[images * self.height_in - 1] + 1)
            self.began = start
            for layer, (costs, gap) in enumerate(zip(self.costs, self.gaps, strict=False)):
                end = start + sum(costs) - 1
                start = (max(end, before + self.chained) if layer == 0 else end) + gap
            self.ready = start
        waits_for = (self.unit - self.rows + 1) * self.unit_rows - 1  # the row that gives up a place
        if waits_for >= len(self.left):
            return None
        start = self.ready if number == 0 else self.times.end[-1] + 1
        assert start is not None
        if waits_for >= 0:
            start = max(start, self.left[waits_for] + 1)
        end = start + self.costs[-1][number] - 1
        if number == 0:
            # The next image may be taken when the last layer has begun.
            self.freed += [start + self.opening + 2] * self.height_in
            self.ready = None
        self.times.start.append(self.began if number == 0 else start)
        self.times.end.append(end)
        self.unit += 1
        return end + self.latency


def simulate_cycles(
    program: Program,
    plan: Plan,
    images: int,
    *,
    stall_in: np.ndarray | None = None,
    stall_out: np.ndarray | None = None,
) -> Timing:
    """Exact times of `images` images with the source always valid and the sink always ready, or as traces tell.

    stall_in, stall_out : boolean traces. In cycle c after reset (entry c modulo the length) the source does not start to
    offer a beat, or the sink does not accept one; what `organza_sim.rtl.run` does with them.

    Raises ValueError when the Plan does not fit the Program, or deadlocks.
    """
    return run_recurrence(plan.works(program), plan.joints, images, stall_in=stall_in, stall_out=stall_out)


def run_recurrence(
    works: Sequence[Work],
    joints: tuple[JointPlan, ...],
    images: int,
    *,
    stall_in: np.ndarray | None = None,
    stall_out: np.ndarray | None = None,
) -> Timing:
    """`simulate_cycles` for works and joints that are not a Plan yet."""
    source = None if stall_in is None else next_open(stall_in)
    sink = None if stall_out is None else next_open(stall_out)
    engines = [
        _SharedEngine(work, before, after) if isinstance(work, TimeSharing) else _Engine(work, before, after)
        for work, before, after in zip(works, joints, joints[1:], strict=False)
    ]
    rows_left = engines[0].height_in * images
    done: list[list[int]] = [[] for _ in engines]  # by engine and output row: completing write of its unit
    total = [engine.height_out * images for engine in engines]
    moved = True
    while moved:
        moved = False
        while rows_left and engines[0].can_take():
            engines[0].take_row(0, source)
            rows_left -= 1
            moved = True
        for k, engine in enumerate(engines):
            consumer = engines[k + 1] if k + 1 < len(engines) else None
            while True:
                progressed = False
                if len(done[k]) < total[k]:
                    write = engine.compute_unit()
                    if write is not None:
                        done[k] += [write] * engine.unit_rows
                        progressed = True
                if len(engine.sent) < len(done[k]) and (consumer is None or consumer.can_take()):
                    _send_row(engine, consumer, done[k][len(engine.sent)], sink)
                    progressed = True
                if not progressed:
                    break
                moved = True
    if len(engines[-1].sent) < total[-1]:
        raise ValueError("Plan deadlocks: a ring is too shallow for its layer")
    height = engines[-1].height_out
    sent = engines[-1].sent[height - 1 :: height]
    return Timing(engines[0].first or 0, sent, [engine.times for engine in engines])


def _send_row(engine: _Engine, consumer: _Engine | None, write: int, sink: Opening | None) -> None:
    """Move one output row of a finished unit on: read in the cycle after `write`, at the earliest, and offered two later.

    A beat that was read moves on to the stream in the cycle before it is offered; with the last one its row is free.
    """
    before = engine.sent[-1] if engine.sent else NEVER
    moved = max(write + 2, before)
    if consumer is None and sink:
        for _ in range(engine.out_beats - 1):
            moved = sink(moved + 1)  # the next beat moves on in the cycle that takes this one
        engine.sent.append(sink(moved + 1))
        engine.left.append(moved)
        return
    if consumer is not None and engine.coded:
        but_one, taken = engine.coded.pass_row(moved + 1, consumer)
        engine.sent.append(taken)
        engine.left.append(but_one if engine.out_beats > 1 else moved)
        return
    beat = 1
    if consumer is None:
        taken = moved + engine.out_beats
    else:
        beat = consumer.beat_cycles
        # A header passes in front of an image, whether the consumer has room for its rows or not.
        header = engine.headers and len(engine.sent) % engine.height_out == 0
        taken = consumer.take_row(moved + 1 + header)
    engine.sent.append(taken)
    # The last beat moves on in the cycle that takes the one before it.
    engine.left.append(taken - beat if engine.out_beats > 1 else moved)
