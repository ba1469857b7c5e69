"""The top module of a board: clock, serial line, and a generator between them."""

from typing import Any

from amaranth import *
from amaranth.hdl import IOPort
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from organza.host_protocol import OFFSET_BYTES, STATUS_BYTES, Identity
from organza.plan import Plan
from organza.program import Program
from organza.program_file import program_hash
from organza.weight_image import image_bytes
from organza_hw.boards.pll import Pll, divisors
from organza_hw.boards.sdram_pads import SdramPads
from organza_hw.external.layout import stored_bytes
from organza_hw.external.memory import PORT, external_layers, external_works
from organza_hw.external.reader import burst_words
from organza_hw.external.sdram_timing import Cycles
from organza_hw.external.store import ExternalStore
from organza_hw.link.host import BYTE, Host
from organza_hw.link.uart import UartReceiver, UartTransmitter
from organza_hw.loading.image import payload_bytes
from organza_hw.loading.spi_flash import SpiFlash

TOP = "board"
FLASH_PORTS = {"sck": Out(1), "cs": Out(1), "mosi": Out(1), "miso": In(1)}
MOST_SENT = 1 << 8 * OFFSET_BYTES  # bytes of an image that offsets reach


def check_beside(board, program: Program, plan: Plan) -> None:
    """Whether the board has a memory for what is not on the chip. Raises ValueError saying what it lacks if not."""
    outside = external_works(program, plan)
    if not outside:
        return
    names = f"layer {external_layers(program, plan)}"
    memory, family = board.memory, board.device.family
    if memory is None or memory.pins is None:
        raise ValueError(f"Weights of {names} must be on the chip: {board.title} has no memory whose pins are known ([memory.pins]); build without --memory")
    if family != "ecp5":
        raise ValueError(f"Weights of {names} must be on the chip: only an ECP5 has pads for a memory here, not {family}; build without --memory")
    if program.loads:
        raise ValueError(f"Weights of {names} must be on the chip, or those of all others in the bitstream: build without --loadable, or without --memory")
    needed, most = stored_bytes(program, plan, memory.width), min(memory.bytes, MOST_SENT - image_bytes(0))
    if needed > most:
        raise ValueError(
            f"Weights of {names} must have at most {most:,} bytes in the board's memory, not {needed:,} ({needed - most:,} too many); "
            "a --code of fewer bits would help, or --memory for fewer layers"
        )
    burst_words(len(outside), Cycles.of(memory.timing, board.core_hz))


def check(board, program: Program, plan: Plan):
    """Whether a board's top can be made, before there are components, which Amaranth would report as unused.

    Raises ValueError if the Program has too many layers for the status, the PLL cannot make the accelerator's clock, or the flash or the
    memory beside the chip is too small for the weights, or there is none.
    """
    check_beside(board, program, plan)
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
    sdram_clk, … : Out, the pins of the board's memory, if weights are there, which a host loads; as is `sdram_dq`, an `IOPort` in `pads`.
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
        beside = external_works(program, plan)
        identity = Identity.of(program, program_hash(program), board.core_hz, beside=bool(beside))
        self.host = Host(identity, formats=(program.input, program.output), beats=(plan.joints[0].n, plan.joints[-1].n))
        self.pll = Pll(board.device.family, board.clock.hz, board.core_hz)
        self.flash = None
        if program.loads and board.flash is not None:
            self.flash = SpiFlash(hz=board.core_hz, offset=board.flash.offset, size=image_bytes(payload_bytes(program, plan)))
        self.store, self.pads, self.inouts = None, None, {}
        if beside:
            data = IOPort(board.memory.width, name="sdram_dq")
            self.store = ExternalStore(program, plan, board.memory, board.core_hz)
            self.pads = SdramPads(board.memory, data, falling=self.store.sdram.cycles.falling)
            self.inouts = {"sdram_dq": data}
        ports = {"clk": In(1), "rx": In(1), "tx": Out(1)} | ({} if board.led is None else {"led": Out(1)})
        ports |= {f"flash_{name}": flow for name, flow in FLASH_PORTS.items()} if self.flash else {}
        super().__init__(ports | {f"sdram_{name}": member for name, member in self._memory_pins()})

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
            wrong |= self._load(m, self._beside(m, self.store, self.pads) if self.store else accelerator)
        if board.led is not None:
            m.d.comb += self.led.eq(wrong ^ board.led.inverted)
        return m

    def _memory_pins(self):
        """Names and members of the memory's pins but for the data."""
        return [] if self.pads is None else [(name, member) for name, member in self.pads.signature.members.items() if member.is_port]

    def _beside(self, m, store, pads):
        """Connect the memory beside the chip; what takes the image for it."""
        m.submodules.store, m.submodules.pads = store, pads
        wiring.connect(m, store.pins, pads.inside)
        m.d.comb += [getattr(self, f"sdram_{name}").eq(getattr(pads, name)) for name, _ in self._memory_pins()]
        for region in store.reader.regions:
            name = f"{PORT}{region.number}"
            wiring.connect(m, getattr(store, name), getattr(self.accelerator, name))
        return store

    def _load(self, m, taker):
        """Connect what weights come from to what takes them; is there something wrong with them?"""
        host = self.host
        m.d.comb += [getattr(host, name).eq(getattr(taker, name)) for name in ("loaded", "refusal", "image")]
        wrong = taker.refusal.any()
        if self.flash is None:
            wiring.connect(m, host.load, taker.load)
            return wrong
        m.submodules.flash = flash = self.flash
        m.d.comb += [
            taker.load.payload.eq(Mux(flash.busy, flash.o.payload, host.load.payload)),
            taker.load.valid.eq(Mux(flash.busy, flash.o.valid, host.load.valid)),
            flash.o.ready.eq(flash.busy & taker.load.ready), host.load.ready.eq(~flash.busy & taker.load.ready),
            host.loading.eq(flash.busy), flash.loaded.eq(taker.loaded), flash.miso.eq(self.flash_miso),
            *(getattr(self, f"flash_{name}").eq(getattr(flash, name)) for name in ("sck", "cs", "mosi")),
        ]  # fmt: skip
        return wrong | (flash.failed & ~taker.loaded)
