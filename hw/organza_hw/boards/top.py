"""The top module of a board: clock, serial line, and a generator between them."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from organza.host_protocol import STATUS_BYTES, Identity
from organza.plan import Plan
from organza.program import Program
from organza.program_file import program_hash
from organza.weight_image import image_bytes
from organza_hw.boards.pll import Pll, divisors
from organza_hw.external.memory import external_works
from organza_hw.link.host import BYTE, Host
from organza_hw.link.uart import UartReceiver, UartTransmitter
from organza_hw.loading.image import payload_bytes
from organza_hw.loading.spi_flash import SpiFlash

TOP = "board"
FLASH_PORTS = {"sck": Out(1), "cs": Out(1), "mosi": Out(1), "miso": In(1)}


def check_inside(program: Program, plan: Plan) -> None:
    """Whether all weights are on the chip. Raises ValueError if not."""
    if external_works(program, plan):
        raise ValueError("Weights must be on the chip on a board, not in an external memory: no board's top has a controller for one")


def check(board, program: Program, plan: Plan):
    """Whether a board's top can be made, before there are components, which Amaranth would report as unused.

    Raises ValueError if the Program has too many layers for the status, the PLL cannot make the accelerator's clock, or the flash is too
    small for the weights.
    """
    check_inside(program, plan)
    if len(program.nodes) > BYTE * STATUS_BYTES:
        raise ValueError(f"Program must have at most {BYTE * STATUS_BYTES} layers on a board, not {len(program.nodes)}")
    divisors(board.device.family, board.clock.hz, board.core_hz)
    if program.loads and board.flash is not None:
        end = board.flash.offset + image_bytes(payload_bytes(program, plan))
        if end > board.flash.bytes:
            raise ValueError(f"Flash must have at least {end:,} bytes for the weights, not {board.flash.bytes:,}")


class BoardTop(wiring.Component):
    """Answers requests on the board's serial line; see `organza.host_protocol`.

    The accelerator runs with the board's `core_hz`, from reset until its clock is steady.

    Parameters
    ----------
    board : `Board`. accelerator : with streams `i` and `o` and `error`, a `Pipeline` or a `Generator`, of this Program and Plan.

    Members
    -------
    clk, rx : In(1). tx : Out(1). led : Out(1), if the board has one: stored weights are damaged, or loaded ones were refused.
    flash_sck, flash_cs, flash_mosi : Out(1). flash_miso : In(1). If weights are loaded and the board has a flash: they are read from
    there after reset, before a host can load any.
    """

    clk: Signal
    rx: Signal
    tx: Signal
    led: Signal
    flash_sck: Signal
    flash_cs: Signal
    flash_mosi: Signal
    flash_miso: Signal

    def __init__(self, board, program: Program, plan: Plan, accelerator):
        self.board, self.accelerator = board, accelerator
        check(board, program, plan)
        identity = Identity.of(program, program_hash(program), board.core_hz)
        self.host = Host(identity, formats=(program.input, program.output), beats=(plan.joints[0].n, plan.joints[-1].n))
        self.pll = Pll(board.device.family, board.clock.hz, board.core_hz)
        self.flash = None
        if program.loads and board.flash is not None:
            self.flash = SpiFlash(hz=board.core_hz, offset=board.flash.offset, size=image_bytes(payload_bytes(program, plan)))
        ports = {"clk": In(1), "rx": In(1), "tx": Out(1)} | ({} if board.led is None else {"led": Out(1)})
        super().__init__(ports | ({f"flash_{name}": flow for name, flow in FLASH_PORTS.items()} if self.flash else {}))

    def elaborate(self, platform):
        m = Module()
        host, accelerator, board = self.host, self.accelerator, self.board
        domain: Any = ClockDomain("sync")  # the stubs know no members
        m.domains.sync = domain
        m.submodules.pll = pll = self.pll
        m.submodules.reset = ResetSynchronizer(~pll.locked)
        m.submodules.receiver = receiver = UartReceiver(board.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(board.divisor)
        m.submodules.host, m.submodules.accelerator = host, accelerator
        wiring.connect(m, receiver.o, host.received)
        wiring.connect(m, host.sent, transmitter.i)
        wiring.connect(m, host.i, accelerator.i)
        wiring.connect(m, accelerator.o, host.o)
        m.d.comb += [
            pll.i.eq(self.clk), domain.clk.eq(pll.o), receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
            host.error.eq(accelerator.error),
        ]  # fmt: skip
        wrong = accelerator.error.any()
        if host.identity.loads:
            wrong |= self._load(m)
        if board.led is not None:
            m.d.comb += self.led.eq(wrong ^ board.led.inverted)
        return m

    def _load(self, m):
        """Connect what weights come from; is there something wrong with them?"""
        host, accelerator = self.host, self.accelerator
        m.d.comb += [getattr(host, name).eq(getattr(accelerator, name)) for name in ("loaded", "refusal", "image")]
        wrong = accelerator.refusal.any()
        if self.flash is None:
            wiring.connect(m, host.load, accelerator.load)
            return wrong
        m.submodules.flash = flash = self.flash
        m.d.comb += [
            accelerator.load.payload.eq(Mux(flash.busy, flash.o.payload, host.load.payload)),
            accelerator.load.valid.eq(Mux(flash.busy, flash.o.valid, host.load.valid)),
            flash.o.ready.eq(flash.busy & accelerator.load.ready), host.load.ready.eq(~flash.busy & accelerator.load.ready),
            host.loading.eq(flash.busy), flash.loaded.eq(accelerator.loaded), flash.miso.eq(self.flash_miso),
            *(getattr(self, f"flash_{name}").eq(getattr(flash, name)) for name in ("sck", "cs", "mosi")),
        ]  # fmt: skip
        return wrong | (flash.failed & ~accelerator.loaded)
