"""Visits the places of lane words in the order in which they are stored, one a step."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.codes.code import lane_order
from organza.schedule import Schedule, ceil_div
from organza.visits import WeightVisit
from organza_hw.table import Table


def lane_places(schedule: Schedule) -> int:
    """Places for a weight in all lane words."""
    return schedule.words * schedule.ti * schedule.to


def lane_fields(schedule: Schedule) -> list[int]:
    """Places that hold a weight, of every lane word."""
    order = lane_order(schedule.node.code.shape, schedule.ti, schedule.to, schedule.node.groups)
    held = (order >= 0).reshape(-1, schedule.ti * schedule.to).sum(1)
    words = schedule.streamed_words
    return (held if words is None else held[words]).tolist()


def lane_taps(schedule: Schedule) -> list[int]:
    """Taps, ky · kernel width + kx, in the order in which the lane words of a co tile follow each other."""
    visit, node = schedule.visit, schedule.node
    if not schedule.streams:
        return [*range(node.y.kernel * node.x.kernel)]
    assert isinstance(visit, WeightVisit)
    return [ky * node.x.kernel + kx for ky, kx in visit.taps]


class LaneWalk(wiring.Component):
    """Group, output-channel tile, tap (`lane_taps`), input-channel tile, output lane, input lane: the innermost last.

    All outputs are of the current place and change with the clock edge after `step`. Places with a
    tile that is not full hold no weight. The walk stops behind the last place.

    Members
    -------
    step : In(1). going : Out(1), there is a place. exists : Out(1), it holds a weight.
    word_end : Out(1), last place of a lane word. end : Out(1), last place of all.
    row, column : Out, input channel and (output channel of the group, tap) of the weight: its place
        in the weights as a matrix of ci rows.
    """

    step: Signal
    going: Signal
    exists: Signal
    word_end: Signal
    end: Signal
    row: Signal
    column: Signal

    def __init__(self, schedule: Schedule):
        node = schedule.node
        self.ti, self.to, self.ci_tiles = schedule.ti, schedule.to, schedule.ci_tiles
        self.groups, self.ci, self.co = node.groups, node.ci // node.groups, node.co // node.groups
        self.taps, self.order = node.y.kernel * node.x.kernel, lane_taps(schedule)
        self.co_tiles = ceil_div(self.co, self.to)
        super().__init__({
            "going": Out(1, init=1),  # pyright: ignore[reportCallIssue] (the stubs know no init)
            "step": In(1), "exists": Out(1), "word_end": Out(1), "end": Out(1),
            "row": Out(range(max(node.ci, 2))), "column": Out(range(max(self.co * self.taps, 2))),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        end = Const(1)

        def counter(name, amount, pitch=1):
            """The next outer loop: its value times `pitch`, and whether it is in its last turn."""
            nonlocal end
            value, turn = Signal(range(max((amount - 1) * pitch + 1, 2)), name=name), end
            last = Signal(name=f"{name}_last")
            m.d.comb += last.eq(value == (amount - 1) * pitch)
            with m.If(self.step & turn):
                m.d.sync += value.eq(Mux(last, 0, value + pitch))
            end = Signal(name=f"{name}_end")
            m.d.comb += end.eq(turn & last)
            return value, last

        lane_in, _ = counter("lane_in", self.ti)
        lane_out, _ = counter("lane_out", self.to, self.taps)
        m.d.comb += self.word_end.eq(end)
        tile_in, last_in = counter("tile_in", self.ci_tiles, self.ti)
        number, _ = counter("tap", len(self.order))
        if self.order == [*range(self.taps)]:
            tap = number
        else:
            m.submodules.taps = taps = Table([{"tap": tap} for tap in self.order])
            m.d.comb += taps.index.eq(number)
            tap = taps.row.tap
        tile_out, last_out = counter("tile_out", self.co_tiles, self.to * self.taps)
        group, _ = counter("group", self.groups, self.ci)
        in_used = self.ci - (self.ci_tiles - 1) * self.ti  # lanes of the last tile
        out_used = self.co - (self.co_tiles - 1) * self.to
        m.d.comb += [
            self.end.eq(end),
            self.exists.eq(
                (~last_in | (lane_in < in_used)) & (~last_out | (lane_out < out_used * self.taps))
            ),
            self.row.eq(group + tile_in + lane_in),
            self.column.eq(tile_out + lane_out + tap),
        ]
        with m.If(self.step & self.end):
            m.d.sync += self.going.eq(0)
        return m
