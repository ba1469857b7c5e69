"""What holds the lane words of an engine: a ROM, a buffer that is filled after reset, or two words of a stream."""

from typing import Any

from amaranth import *
from amaranth.lib.wiring import In

from organza.codes import BlockHash, Ternary
from organza.codes.trits import BYTE, TRITS
from organza.schedule import Schedule
from organza_hw.block_ram import block_ram
from organza_hw.codes import expander_of
from organza_hw.codes.blockhash import RowHash
from organza_hw.external.supply import ExternalWeights
from organza_hw.lane_walk import LaneWalk
from organza_hw.lanes.dot import register
from organza_hw.rom import Rom
from organza_hw.trits import TritDecoder, trit_fields
from organza_hw.weight_stream import StreamedWeights
from organza_hw.weight_supply import WeightSupply, pack_words

LOAD_LATENCY = 2  # from the last field to the first cycle in which the sequencer may run


def in_bytes(code: Any) -> bool:
    """Whether lane words of this code are bytes of five ternary weights."""
    return isinstance(code, Ternary) and code.per_byte == TRITS


def stored_words(schedule: Schedule) -> tuple[int, list[int]]:
    """Bits of a lane word as a memory holds it, and all lane words of a layer."""
    code: Any = schedule.node.code
    if in_bytes(code):
        rows, bits = code.byte_words(schedule.ti, schedule.to, schedule.node.groups), BYTE
    else:
        rows, bits = code.words(schedule.ti, schedule.to, schedule.node.groups), code.field_bits
        rows = rows.reshape(len(rows), -1)
    return rows.shape[1] * bits, pack_words(rows, bits)


def load_cycles(schedule: Schedule) -> int:
    """First cycle, counted from 0 behind the reset, in which the engine may issue."""
    if schedule.memory != "expand":
        return 0
    return expander_of(schedule.node.code).load_end(schedule) + LOAD_LATENCY


class Weights(WeightSupply):
    """Lane words in a memory. Latency `latency` cycles, one word a cycle in any order, once `loaded`.

    Attributes
    ----------
    depth : lane words.

    Members
    -------
    Those of `WeightSupply`, and
    addr : In, `data` is the lane word at the `addr` of `latency` cycles before.
    """

    addr: Signal

    def __init__(self, schedule: Schedule):
        self.schedule, self.depth, self.field_bits = schedule, schedule.words, schedule.node.code.field_bits
        super().__init__(schedule.word_bits, {"addr": In(range(max(self.depth, 2)))})


class StoredWeights(Weights):
    """Lane words read as they are stored."""

    def __init__(self, schedule: Schedule, *, file=None):
        super().__init__(schedule)
        width, words = stored_words(schedule)
        self.rom = Rom(width=width, words=words, file=file and f"{file}_weights.hex", loads=schedule.loads)
        self.roms = [self.rom]

    def elaborate(self, platform):
        m = Module()
        m.submodules.rom = self.rom
        m.d.comb += [self.rom.addr.eq(self.addr), self.data.eq(self.rom.data), self.loaded.eq(1)]
        return m


class TritWeights(StoredWeights):
    """Lane words of ternary weights, five in a byte."""

    latency = Rom.LATENCY + TritDecoder.LATENCY

    def elaborate(self, platform):
        m = Module()
        m.submodules.rom = self.rom
        m.d.comb += [self.rom.addr.eq(self.addr), self.loaded.eq(1)]
        m.d.comb += self.data.eq(trit_fields(m, self.rom.data))
        return m


class BufferedWeights(Weights):
    """A buffer that an expander fills after reset, one place of a lane word a cycle.

    Places without a weight take a cycle too and hold 0, so the time does not depend on the weights;
    see `load_cycles`.
    """

    def __init__(self, schedule: Schedule, *, file=None):
        super().__init__(schedule)
        self.expander = expander_of(schedule.node.code)(schedule, file=file)
        self.roms = self.expander.roms

    def elaborate(self, platform):
        m = Module()
        m.submodules.expander = expander = self.expander
        m.submodules.walk = walk = LaneWalk(self.schedule)
        m.submodules.buffer = buffer = block_ram(len(self.data), self.depth)
        write, read = buffer.write_port(), buffer.read_port()
        m.d.comb += [read.addr.eq(self.addr), self.error.eq(expander.error)]
        m.d.comb += self.data.eq(register(m, read.data, reset=False))

        m.d.comb += [
            expander.o.ready.eq(walk.going & walk.exists),
            walk.step.eq(walk.going & (expander.o.valid | ~walk.exists)),
        ]
        word, number = Signal(len(self.data)), Signal(range(self.depth + 1))
        full = Signal()
        with m.If(walk.step):
            # The first field ends up lowest once the word is full.
            m.d.sync += word.eq(
                Cat(word, Mux(walk.exists, expander.o.payload, 0))[self.field_bits :]
            )
        m.d.sync += full.eq(walk.step & walk.word_end)
        with m.If(full):
            m.d.sync += number.eq(number + 1)
        m.d.comb += [write.addr.eq(number), write.data.eq(word), write.en.eq(full)]
        with m.If(~walk.going & expander.intact):
            m.d.sync += self.loaded.eq(1)
        return m


class RowWeights(Weights):
    """Rows that a hash of the address chooses, with a sign for every lane."""

    latency = RowHash.LATENCY + Rom.LATENCY + 1

    def __init__(self, schedule: Schedule, *, file=None):
        super().__init__(schedule)
        self.code: Any = schedule.node.code
        rows = self.code.rows.reshape(len(self.code.rows), -1) & ((1 << self.field_bits) - 1)
        self.rom = Rom(
            width=len(self.data),
            words=pack_words(rows, self.field_bits),
            file=file and f"{file}_weights.hex",
            loads=schedule.loads,
        )
        self.roms = [self.rom]

    def elaborate(self, platform):
        m = Module()
        lanes = self.schedule.ti * self.schedule.to
        m.submodules.rom = self.rom
        m.submodules.hash = hashed = RowHash(
            addresses=self.depth, lanes=lanes, row_bits=self.code.row_bits, instances=self.rom.file is not None,
        )
        negative = register(m, hashed.negative, stages=Rom.LATENCY)
        m.d.comb += [hashed.addr.eq(self.addr), self.rom.addr.eq(hashed.row), self.loaded.eq(1)]
        for lane in range(lanes):
            bucket = self.rom.data.word_select(lane, self.field_bits)
            word = self.data.word_select(lane, self.field_bits)
            m.d.sync += word.eq(Mux(negative[lane], -bucket, bucket))
        return m


def supply_of(schedule: Schedule) -> Any:
    """The class that supplies a layer's lane words; its arguments are the schedule and `file`, the prefix of its files, None
    for the netlist."""
    code = schedule.node.code
    if schedule.external:
        return ExternalWeights
    if schedule.memory != "rom":
        return StreamedWeights if schedule.streams else BufferedWeights
    if in_bytes(code):
        return TritWeights
    return RowWeights if isinstance(code, BlockHash) else StoredWeights
