"""The top module of a board that shows images on a screen, without a host: a generator that runs free on latents that it draws itself."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from organza.checks import check_integer
from organza.latent_stream import STATE_BITS, state_of
from organza.plan import Plan
from organza.program import Program
from organza_hw.boards.pll import Pll, divisors, second_divisor
from organza_hw.external.memory import external_layers
from organza_hw.formats import wire_shape
from organza_hw.link.beat_bytes import BeatPacker
from organza_hw.link.crc import BYTE
from organza_hw.link.latents import Latents
from organza_hw.video.frame_buffer import MOST_FRAMES
from organza_hw.video.gallery import magnification
from organza_hw.video.screen import CHANNELS, Screen
from organza_hw.video.serializer import PAIRS, Ecp5Pad
from organza_hw.video.timing import PIXEL_HZ

SEED = 1
FRAMES = 30  # half a second
SHIFT_HZ = PAIRS * PIXEL_HZ


def check_video(board, program: Program, plan: Plan, *, seed=SEED, frames=FRAMES):
    """Whether a board's `VideoTop` can be made, before there are components, which Amaranth would report as unused.

    Raises ValueError if the board has no screen, its device no pads for one, its PLL not the clocks, weights are loaded at run time or beside the
    chip, or the image is larger than the screen;
    TypeError / ValueError for a wrong seed or number of frames.
    """
    if board.video is None:
        raise ValueError(f"Board must have a table [video] for a screen, and {board.title} has none")
    if board.device.family != "ecp5":
        raise ValueError(f"Board must have an ECP5 for a screen, not {board.device.family}")
    outside = external_layers(program, plan)
    if outside:
        raise ValueError(f"Weights of layer {outside} must be on the chip for a screen, which no host fills a memory for; build without --memory")
    if program.loads:
        raise ValueError("Program must have its weights in the bitstream for a screen, which loads none")
    state_of(seed)
    check_integer("Frames", frames, 1, MOST_FRAMES)
    magnification(program.output_shape)
    divisors(board.device.family, board.clock.hz, board.core_hz)
    second_divisor(board.device.family, board.clock.hz, SHIFT_HZ, PIXEL_HZ)


class VideoTop(wiring.Component):
    """Shows one image after the other, the outputs for `organza.latent_stream.draw` from `seed` on, each for `frames` frames.

    The accelerator runs with the board's `core_hz`, the screen with `timing.PIXEL_HZ`; both from reset until all clocks are steady. An accelerator that needs
    longer for an image than it is to be shown is shown when it has it.

    Parameters
    ----------
    board : `Board` with a `Video`. accelerator : with streams `i` and `o` and `error`, a `Pipeline` or a `Generator`, of this Program and Plan.

    Members
    -------
    clk : In(1). video_clk, video_0, video_1, video_2 : Out(1), the positive pins of the pairs. led : Out(1), if the board has one: stored weights are damaged.
    """

    clk: Signal
    led: Signal

    def __init__(self, board, program: Program, plan: Plan, accelerator, *, seed=SEED, frames=FRAMES):
        self.board, self.accelerator, self.state = board, accelerator, state_of(seed)
        check_video(board, program, plan, seed=seed, frames=frames)
        family, hz = board.device.family, board.clock.hz
        self.core_pll = Pll(family, hz, board.core_hz)
        self.screen_pll = Pll(family, hz, SHIFT_HZ, PIXEL_HZ)
        self.latents = Latents(program.input)
        self.packer = BeatPacker(program.input_shape, wire_shape(program.input), plan.joints[0].n)
        self.screen = Screen(program, plan.joints[-1].n, frames)
        ports = {"clk": In(1)} | {name: Out(1) for name in board.video.pins}
        super().__init__(ports if board.led is None else {**ports, "led": Out(1)})

    def elaborate(self, platform):
        m = Module()
        core_pll, screen_pll, accelerator = self.core_pll, self.screen_pll, self.accelerator
        m.submodules.core_pll, m.submodules.screen_pll = core_pll, screen_pll
        steady = core_pll.locked & screen_pll.locked
        for name, clock in (("sync", core_pll.o), ("pixel", screen_pll.second), ("shift", screen_pll.o)):
            domain: Any = ClockDomain(name)  # the stubs know no members
            m.domains += domain
            m.submodules[f"{name}_reset"] = ResetSynchronizer(~steady, domain=name)
            m.d.comb += domain.clk.eq(clock)
        m.d.comb += [core_pll.i.eq(self.clk), screen_pll.i.eq(self.clk)]

        m.submodules.latents, m.submodules.packer, m.submodules.screen = latents, packer, screen = self.latents, self.packer, self.screen
        m.submodules.accelerator = accelerator
        begun, number = Signal(), Signal(range(STATE_BITS // BYTE))  # of a byte of the state
        m.d.sync += number.eq(number + 1)
        with m.If(number == STATE_BITS // BYTE - 1):
            m.d.sync += begun.eq(1)
        m.d.comb += [latents.load.eq(~begun), latents.draw.eq(begun), latents.byte.eq(Const(self.state, STATE_BITS).word_select(number, BYTE))]
        m.d.comb += [packer.i.valid.eq(latents.o.valid), packer.i.payload.eq(latents.o.payload), latents.o.ready.eq(packer.i.ready)]
        wiring.connect(m, packer.o, accelerator.i)
        wiring.connect(m, accelerator.o, screen.i)

        names = [*(f"video_{k}" for k in range(CHANNELS)), "video_clk"]
        for k, name in enumerate(names):
            m.submodules[f"{name}_pad"] = pad = Ecp5Pad()
            m.d.comb += [pad.pair.eq(screen.pairs[k]), getattr(self, name).eq(pad.pin)]
        if self.board.led is not None:
            m.d.comb += self.led.eq(accelerator.error.any() ^ self.board.led.inverted)
        return m
