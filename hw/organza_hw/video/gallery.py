"""The latest image in the middle of a screen, as large as whole numbers of its pixels allow."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.lanes.dot import register
from organza_hw.video.frame_buffer import FrameBuffer
from organza_hw.video.timing import SYNCS, VGA, Timing

COLOUR_BITS = 24


def magnification(shape, mode=VGA) -> int:
    """How many pixels of the screen one of an image (…, height, width) has, across and down. Raises ValueError if the image is larger than the screen."""
    height, width = shape[-2:]
    found = min(mode.y.seen // height, mode.x.seen // width)
    if not found:
        raise ValueError(f"Image must be at most {mode.x.seen}×{mode.y.seen} to be shown, not {width}×{height}")
    return found


def place(shape, mode=VGA) -> tuple[int, int]:
    """The column and the line at which the magnified image begins."""
    height, width = shape[-2:]
    zoom = magnification(shape, mode)
    return (mode.x.seen - zoom * width) // 2, (mode.y.seen - zoom * height) // 2


class Gallery(wiring.Component):
    """Asks for pixels of an image and puts them where a screen shows them; the rest is black.

    Latency `LATENCY` cycles from a place in the frame to its pixel, one pixel a cycle, no back-pressure.

    Parameters
    ----------
    shape : channels of a pixel, 1 or 3, height, width.

    Members
    -------
    address : Out, of a pixel in raster order. data : In, the pixel at the `address` of `FrameBuffer.LATENCY` cycles before: grey, or red, green and
    blue, red lowest. live : In(1), there is an image. blank : Out(1), of `Timing`, so late that the last `address` has been
    answered. syncs : Out, `SYNCS`. colour : Out(24), red lowest, 0 where nothing is shown.
    """

    LATENCY = 1 + FrameBuffer.LATENCY + 1

    address: Signal
    data: Signal
    live: Signal
    blank: Signal
    syncs: Any
    colour: Signal

    def __init__(self, shape, mode=VGA):
        self.shape, self.zoom, self.place = shape, magnification(shape, mode), place(shape, mode)
        self.timing = Timing(mode)
        channels, height, width = shape
        super().__init__({
            "address": Out(range(height * width)), "data": In(COLOUR_BITS // 3 * channels), "live": In(1), "blank": Out(1),
            "syncs": Out(SYNCS), "colour": Out(COLOUR_BITS),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.timing = timing = self.timing
        channels, height, width = self.shape
        left, top = self.place
        across = (timing.x >= left) & (timing.x < left + self.zoom * width)
        down = (timing.y >= top) & (timing.y < top + self.zoom * height)
        # Place in the image, and how often its column and row have been shown.
        column, row, again_x, again_y = Signal(range(width)), Signal(range(height * width)), Signal(range(self.zoom)), Signal(range(self.zoom))
        with m.If(across):
            m.d.sync += again_x.eq(again_x + 1)
            with m.If(again_x == self.zoom - 1):
                m.d.sync += [again_x.eq(0), column.eq(Mux(column == width - 1, 0, column + 1))]
        with m.If(timing.line_end & down):
            m.d.sync += again_y.eq(again_y + 1)
            with m.If(again_y == self.zoom - 1):
                m.d.sync += [again_y.eq(0), row.eq(Mux(row == (height - 1) * width, 0, row + width))]
        m.d.sync += self.address.eq(row + column)

        stages = self.LATENCY - 1
        inside = register(m, across & down, stages=stages)
        pixel = self.data if channels == 3 else self.data.replicate(3)
        m.d.sync += self.colour.eq(Mux(inside & self.live, pixel, 0))
        m.d.comb += [
            self.syncs.eq(register(m, timing.syncs.as_value(), stages=self.LATENCY)),
            self.blank.eq(register(m, timing.blank, stages=self.LATENCY)),
        ]
        return m
