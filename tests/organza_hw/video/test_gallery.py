# amaranth: UnusedElaboratable=no
"""Images in the middle of a small screen, magnified, pixel by pixel of every frame."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from organza_hw.video.frame_buffer import FrameBuffer
from organza_hw.video.gallery import Gallery, magnification, place
from organza_hw.video.timing import VGA, Mode, Span

MODE = Mode(Span(23, 2, 3, 4), Span(14, 1, 2, 3))


def frames(image, *, dark=1, count=3):
    """Colours of whole frames (count, 14, 23), from a memory that answers late; there is no image in the first `dark` of them."""
    channels, height, width = image.shape
    gallery = Gallery(image.shape, MODE)
    words = (image.astype(np.int64) << 8 * np.arange(channels)[:, None, None]).sum(axis=0).ravel().tolist()
    made, answers = [], [0] * FrameBuffer.LATENCY

    async def testbench(ctx):
        frame, pixels = 0, []
        while frame < count:
            ctx.set(gallery.live, frame >= dark)
            ctx.set(gallery.data, answers[0])
            _, _, address, seen, colour, blank = await ctx.tick().sample(
                gallery.address, gallery.syncs.seen, gallery.colour, gallery.blank
            )
            answers[:] = [*answers[1:], words[address]]
            assert seen or not colour
            pixels += [colour] if seen else []
            if blank:
                assert len(pixels) == 14 * 23
                made.append(pixels)
                frame, pixels = frame + 1, []

    simulator = Simulator(gallery)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return np.array(made).reshape(count, 14, 23)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height, width, zoom, left, top", [
    (1, 1, 14, 4, 0), (4, 5, 3, 4, 1), (7, 5, 2, 6, 0), (3, 11, 2, 0, 4), (14, 23, 1, 0, 0), (5, 12, 1, 5, 4),
])  # fmt: skip
def test_images(channels, height, width, zoom, left, top):
    image = np.random.default_rng(width).integers(1, 256, (channels, height, width))
    assert (magnification(image.shape, MODE), place(image.shape, MODE)) == (zoom, (left, top))
    wanted = np.zeros((14, 23), np.int64)
    colours = np.broadcast_to(image, (3, height, width))
    wanted[top : top + zoom * height, left : left + zoom * width] = (
        (colours[0] | colours[1] << 8 | colours[2] << 16).repeat(zoom, 0).repeat(zoom, 1)
    )
    found = frames(image)
    assert not found[0].any()
    assert (found[1:] == wanted).all()


def test_640x480():
    assert (magnification((1, 32, 32)), place((1, 32, 32))) == (15, (80, 0))
    assert (magnification((1, 28, 28)), place((1, 28, 28))) == (17, (82, 2))
    assert magnification((3, 480, 640)) == 1
    assert VGA.x.seen == 640
    for shape in ((1, 481, 1), (3, 1, 641)):
        with pytest.raises(ValueError, match=rf"^Image must be at most 640×480 to be shown, not {shape[2]}×{shape[1]}$"):
            magnification(shape)
