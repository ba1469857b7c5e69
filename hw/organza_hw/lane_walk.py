"""Visits the places of all lane words in order, one a step."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.schedule import Schedule, ceil_div


def lane_words(schedule: Schedule) -> int:
    """Lane words of a layer."""
    return int(schedule.tap_issues.sum())


def lane_places(schedule: Schedule) -> int:
    """Places for a weight in all lane words."""
    return lane_words(schedule) * schedule.ti * schedule.to


class LaneWalk(wiring.Component):
    """Group, output-channel tile, tap, input-channel tile, output lane, input lane: the innermost
    last.

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
        self.taps = node.y.kernel * node.x.kernel
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
        tap, _ = counter("tap", self.taps)
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
