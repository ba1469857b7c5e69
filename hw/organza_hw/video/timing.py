"""640×480 at 60 Hz: where in a frame a screen is.

VESA Display Monitor Timing, ID 04h, and CEA-861, video identification code 1: 800 pixel clocks a line, of which 640 are seen, then 16
of front porch, 96 of horizontal sync, 48 of back porch; 525 lines, of which 480 are seen, then 10, 2 of vertical sync, 33. Both syncs
are low where they are, and the vertical one begins and ends with a horizontal one. Their pixel clock is 25.175 MHz; ours is 25 MHz, which
a PLL makes of usual oscillators: 59.52 frames a second, 0.7 % fewer.
"""

from typing import Any, NamedTuple

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

PIXEL_HZ = 25_000_000


class Span(NamedTuple):
    """One direction, in pixels or lines: what is seen, then front porch, sync and back porch."""

    seen: int
    front: int
    sync: int
    back: int

    @property
    def total(self):
        """All of it."""
        return sum(self)

    @property
    def sync_start(self):
        """Where the sync begins."""
        return self.seen + self.front

    @property
    def sync_end(self):
        """The first place behind the sync."""
        return self.sync_start + self.sync


class Mode(NamedTuple):
    """Of a screen, both syncs negative."""

    x: Span
    y: Span


VGA = Mode(Span(640, 16, 96, 48), Span(480, 10, 2, 33))
# What goes with a pixel: whether it is seen, and the levels of both syncs.
SYNCS = data.StructLayout({"seen": 1, "hsync": 1, "vsync": 1})


class Timing(wiring.Component):
    """Counts through frames for ever, one pixel a cycle, beginning with the first that is seen.

    Members
    -------
    x, y : Out, place in a line and line in a frame. syncs : Out, `SYNCS` of that pixel. line_end : Out(1), the last pixel clock of a
    line. blank : Out(1), for one cycle, the first in which nothing of a frame is to be seen any more.
    """

    x: Signal
    y: Signal
    syncs: Any
    line_end: Signal
    blank: Signal

    def __init__(self, mode=VGA):
        self.mode = mode
        super().__init__({
            "x": Out(range(mode.x.total)), "y": Out(range(mode.y.total)), "syncs": Out(SYNCS), "line_end": Out(1), "blank": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        across, down = self.mode
        line = Signal(range(down.total + 1))  # from one horizontal sync to the next
        m.d.comb += [
            line.eq(self.y + (self.x >= across.sync_start)),
            self.line_end.eq(self.x == across.total - 1),
            self.blank.eq((self.y == down.seen) & (self.x == 0)),
            self.syncs.seen.eq((self.x < across.seen) & (self.y < down.seen)),
            self.syncs.hsync.eq((self.x < across.sync_start) | (self.x >= across.sync_end)),
            self.syncs.vsync.eq((line < down.sync_start) | (line >= down.sync_end)),
        ]
        m.d.sync += self.x.eq(self.x + 1)
        with m.If(self.line_end):
            m.d.sync += [self.x.eq(0), self.y.eq(Mux(self.y == down.total - 1, 0, self.y + 1))]
        return m
