# amaranth: UnusedElaboratable=no
"""Pictures are shown whole, in order, none left out and none too short, whatever the clocks and whatever stalls."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from organza_hw.video.frame_buffer import FrameBuffer
from tests.organza_hw.patterns import CROSSED, PATTERNS

WORDS, PICTURES = 5, 9
REST = 6  # clocks of a frame after the last address


def shown(pixel_ps, frames, idle, *, words=WORDS, watchdog=400):
    """What the reader sees frame by frame: None before there is a picture, else its words; and how many words were taken by each frame's end."""
    rng = np.random.default_rng(words)
    pictures = rng.integers(0, 256, (PICTURES, words)).tolist()
    flat = [word for picture in pictures for word in picture]
    buffer, found, taken = FrameBuffer(words, 8, frames), [], []
    sent = 0

    async def source(ctx):
        nonlocal sent
        cycle, offered = 0, False
        while sent < len(flat):
            offered = offered or not idle[cycle % len(idle)]
            ctx.set(buffer.i.valid, offered)
            ctx.set(buffer.i.payload, flat[sent] if offered else 0xEE)
            _, _, ready = await ctx.tick().sample(buffer.i.ready)
            cycle += 1
            if offered and ready:
                sent, offered = sent + 1, False
        ctx.set(buffer.i.valid, 0)

    async def screen(ctx):
        for _ in range(watchdog):
            values, live = [], 0
            for clock in range(words + REST):
                ctx.set(buffer.address, min(clock, words - 1))
                ctx.set(buffer.blank, clock == words + REST - 1)
                _, _, value, live = await ctx.tick("pixel").sample(buffer.data, buffer.live)
                values.append(value)
            # A word is there, to be sampled, two clocks after the one that its address was set in.
            found.append(values[buffer.LATENCY : buffer.LATENCY + words] if live else None)
            taken.append(sent)
            if sent == len(flat) and found[-1] == pictures[-1] and found[-frames - 2 :] == [pictures[-1]] * (frames + 2):
                return
        raise AssertionError(f"the last picture is not shown after {watchdog} frames")

    simulator = Simulator(buffer)
    simulator.add_clock(8e-9)
    simulator.add_clock(pixel_ps * 1e-12, domain="pixel", phase=1.3e-9)
    simulator.add_testbench(source)
    simulator.add_testbench(screen)
    simulator.run()
    return pictures, found, taken


def runs(found):
    """Pictures that are shown one after the other, and for how many frames."""
    made = []
    for picture in found:
        if made and made[-1][0] == picture:
            made[-1][1] += 1
        else:
            made.append([picture, 1])
    return made


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_pictures(idle, pressure):
    """The screen's clock, faster or slower, is what a stream that is never ready is elsewhere."""
    frames = 1 + list(PATTERNS).index(pressure)
    pixel_ps = {"never": 40_000, "every other": 7_901, "mostly": 3_100, "bursts": 11_003}[pressure]
    pictures, found, taken = shown(pixel_ps, frames, PATTERNS[idle])
    made = runs(found)
    if made[0][0] is None:
        made = made[1:]
    assert [picture for picture, _ in made] == pictures
    assert all(count >= frames for _, count in made)
    if pixel_ps == 40_000 and idle == "never":  # the source is always ahead
        assert all(count == frames for _, count in made[:-1])
    for number, picture in enumerate(found):  # at most a whole picture beside the one that is shown, and none of the next
        place = pictures.index(picture) if picture is not None else -1
        assert (place + 1) * WORDS <= taken[number] <= (place + 3) * WORDS


def test_one_pixel():
    pictures, found, _ = shown(11_000, 2, PATTERNS["never"], words=1)
    made = [picture for picture, _ in runs(found) if picture is not None]
    assert made == [picture for picture, _ in runs(pictures)]


@pytest.mark.parametrize("arguments, error, message", [
    ((0, 8, 1), ValueError, "FrameBuffer words must be between 1 and 1048576, not 0"),
    ((4, 8, 0), ValueError, "FrameBuffer frames must be between 1 and 65536, not 0"),
    ((4, 8, 1.5), TypeError, "FrameBuffer frames must be an integer, not 1.5"),
])  # fmt: skip
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        FrameBuffer(*arguments)
