# amaranth: UnusedElaboratable=no
"""Frames of a small mode place by place, and the published numbers of 640×480, of which `organza_sim.dvi` checks every line."""

from itertools import product

from organza_hw.video.timing import PIXEL_HZ, VGA, Mode, Span, Timing
from organza_sim.pysim import trace_cycles

PORTS = ["x", "y", "syncs.seen", "syncs.hsync", "syncs.vsync", "line_end", "blank"]


def test_published_numbers():
    assert (VGA.x, VGA.y) == ((640, 16, 96, 48), (480, 10, 2, 33))
    assert (VGA.x.total, VGA.x.sync_start, VGA.x.sync_end) == (800, 656, 752)
    assert (VGA.y.total, VGA.y.sync_start, VGA.y.sync_end) == (525, 490, 492)
    assert abs(PIXEL_HZ / 25_175_000 - 1) < 0.007


def test_a_small_mode():
    """Two frames and a bit; a vertical sync begins and ends with a horizontal one."""
    mode = Mode(Span(5, 2, 3, 1), Span(4, 1, 2, 3))
    seen = trace_cycles(Timing(mode), [{}] * 230, PORTS)
    places = [*product(range(10), range(11))] * 3
    wanted = []
    for y, x in places[:230]:
        line = y + (x >= 7)
        wanted.append((x, y, x < 5 and y < 4, not 7 <= x < 10, not 5 <= line < 7, x == 10, (x, y) == (0, 4)))
    assert seen == wanted
