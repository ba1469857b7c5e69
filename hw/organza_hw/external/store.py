"""Weights in an SDRAM beside the chip: an image fills it, engines read it."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from organza.board import Memory
from organza.plan import Plan
from organza.program import Program
from organza_hw.external.layout import content_hash, contents, regions
from organza_hw.external.memory import PORT
from organza_hw.external.reader import CyclicReader
from organza_hw.external.sdram import Sdram, pin_signature
from organza_hw.external.sdram_timing import Cycles
from organza_hw.external.supply import word_signature
from organza_hw.loading.loader import LOAD_PORTS, WeightLoader


class ExternalStore(wiring.Component):
    """Writes an image (`organza_hw.external.layout.sent_image`) into an SDRAM; once it is there, engines get their lane words.

    An image that comes again stops new bursts with its first byte, until it has been accepted. What engines still have or get then was read before
    anything was written; since no image but that of this Program and Plan is accepted, they go on behind it.

    Throughput and latency: of `CyclicReader` and `Sdram`; a byte of an image every other cycle but where the memory is refreshed. Full back-pressure.

    Parameters
    ----------
    memory : with pins and timing. hz : of the clock.

    Members
    -------
    load, loaded, refusal, image : as of `WeightLoader`. pins : Out, `pin_signature`.
    weights{k} : Out, stream of `word_signature`, for every engine k whose lane words come from outside.
    """

    load: stream.Interface
    loaded: Signal
    refusal: Signal
    image: Signal
    pins: Any

    def __init__(self, program: Program, plan: Plan, memory: Memory, hz: int):
        assert memory.timing is not None
        found = regions(program, plan, memory.width)
        self.reader = CyclicReader(found, memory, Cycles.of(memory.timing, hz))
        self.sdram = Sdram(memory, hz, self.reader.tag_bits)
        self.loader = WeightLoader(content_hash(contents(program, plan, memory.width)), [(memory.width, found[-1].last + 1)])
        super().__init__({
            **LOAD_PORTS, "pins": Out(pin_signature(memory)),
            **{f"{PORT}{region.number}": Out(word_signature(region.work)) for region in found},
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        loader, reader, sdram = self.loader, self.reader, self.sdram
        m.submodules.loader, m.submodules.reader, m.submodules.sdram = loader, reader, sdram
        wiring.connect(m, sdram.pins, wiring.flipped(self.pins))
        wiring.connect(m, sdram.o, reader.answer)
        for region in reader.regions:
            name = f"{PORT}{region.number}"
            wiring.connect(m, getattr(reader, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [self.loaded.eq(loader.loaded), self.refusal.eq(loader.refusal), self.image.eq(loader.image), reader.go.eq(loader.loaded)]

        # One word waits to be written; no byte is taken that could end the next one before.
        waits, address, word = Signal(), Signal.like(loader.address), Signal.like(loader.words[0])
        hold = waits | loader.write[0]
        m.d.comb += [
            loader.i.payload.eq(self.load.payload), loader.i.valid.eq(self.load.valid & ~hold), self.load.ready.eq(loader.i.ready & ~hold),
        ]  # fmt: skip
        writes = Signal()  # behind a burst, whose words are still those of the image before
        m.d.comb += [
            writes.eq(waits & ~reader.busy), reader.ask.ready.eq(sdram.i.ready & reader.busy),
            sdram.i.valid.eq(writes | reader.ask.valid), sdram.i.payload.eq(reader.ask.payload),
        ]  # fmt: skip
        with m.If(writes):
            m.d.comb += [sdram.i.payload.write.eq(1), sdram.i.payload.address.eq(address), sdram.i.payload.data.eq(word)]
            with m.If(sdram.i.ready):
                m.d.sync += waits.eq(0)
        with m.If(loader.write[0]):
            m.d.sync += [waits.eq(1), address.eq(loader.address), word.eq(loader.words[0])]
        return m
