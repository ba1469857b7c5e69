"""Where a time-shared engine keeps the tensors between its layers: one memory, whose places later tensors take again."""

import math
from functools import cached_property

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.time_sharing import TimeSharing
from organza_hw.joint import joint_signature
from organza_hw.lane_memory import LaneMemory
from organza_hw.lanes.dot import register
from organza_hw.row_buffer import RingLayout, row_writes

WRITE_LATENCY = 1  # all banks take the same values, wherever they lie


def frame_banks(shared: TimeSharing) -> int:
    """The fewest banks in which all pixel lanes of any layer read different ones."""
    banks = shared.p
    while any(math.gcd(banks, schedule.node.x.pitch) != 1 for schedule in shared.layers if schedule.p > 1):
        banks += 1
    return banks


class FrameLayout:
    """Where channel c of pixel x of row r of every layer's input lies.

    Pixel columns are dealt to `banks`, as in a ring (`RingLayout`), but to as many of them for all layers. A word is Ti consecutive
    channels. Two tensors have places in common unless one is read while the other is written.

    Attributes
    ----------
    bases : by layer, the first word of its input in every bank. bank_words : words of a bank.
    """

    def __init__(self, shared: TimeSharing, *, n: int):
        self.shared, self.n = shared, n
        self.banks = frame_banks(shared)
        self.rings = [
            RingLayout(schedule, n=min(n, schedule.node.ci), depth=schedule.node.y.size, banks=self.banks) for schedule in shared.layers
        ]
        self.bases = self._placed()
        self.bank_words = max(base + ring.bank_words for base, ring in zip(self.bases, self.rings, strict=True))

    def _placed(self) -> list[int]:
        """Each tensor at the lowest place that is free of its neighbours'; the first at 0, then the large ones."""
        count = len(self.rings)
        bases: dict[int, int] = {0: 0}
        for layer in sorted(range(1, count), key=lambda k: -self.rings[k].bank_words):
            near = [k for k in ((layer - 1) % count, (layer + 1) % count) if k in bases and k != layer]
            taken = sorted((bases[k], bases[k] + self.rings[k].bank_words) for k in near)
            base = 0
            for start, end in taken:
                if base + self.rings[layer].bank_words > start:
                    base = max(base, end)
            bases[layer] = base
        return [bases[k] for k in range(count)]

    @cached_property
    def output_places(self) -> list[dict]:
        """By layer and column of its output, for all layers but the last: bank, and word inside the row."""
        return [
            {"bank": bank, "word": word}
            for ring in self.rings[1:] for bank, word in map(ring.place, range(ring.schedule.node.x.size))
        ]  # fmt: skip


class Frames(wiring.Component):
    """The memory of a `FrameLayout`, with the stream that fills the first layer's input.

    Throughput: a beat every `pieces_per_beat` cycles of the first ring; a write and a word of every bank each cycle. Back-pressure: one
    image is taken at first, and one after each `open`, without a pause. Latency: what is written can be
    read `WRITE_LATENCY` + 1 cycles later, what is taken with the last beat of an image a cycle after that; reads take `LATENCY` cycles.

    early : reads have their first register in front of the memories instead of behind them: their words come late in a cycle.

    Members
    -------
    i : In(joint_signature(shape, n)). open : In(1), an image may be taken; not while anything else is written.
    taken : Out(1), high in the cycle that takes the last beat of an image.
    w_en, w_bank, w_addr, w_offset, w_count, w_data : In, write up to E values; see `LaneMemory`.
    r_addr : In, one address for each bank. r_data : Out, one word of each bank, `LATENCY` cycles later.
    """

    LATENCY = 2

    i: wiring.PureInterface
    open: Signal
    taken: Signal
    w_en: Signal
    w_bank: Signal
    w_addr: Signal
    w_offset: Signal
    w_count: Signal
    w_data: data.View
    r_addr: data.View
    r_data: data.View

    def __init__(self, layout: FrameLayout, *, bits: int, input, e: int, offsets: set[int], straddle: bool, early: bool = False):
        self.layout, self.bits, self.input, self.e, self.early = layout, bits, Shape.cast(input), e, early
        first = layout.rings[0]
        self.offsets = offsets | {piece.offset for piece in first.pieces if piece.count}
        self.straddle = straddle or any(piece.offset + piece.count > first.lanes for piece in first.pieces)
        self.width = max(e, first.width)
        address = range(max(layout.bank_words, 2))
        super().__init__({
            "i": In(joint_signature(self.input, layout.n)), "open": In(1), "taken": Out(1),
            "w_en": In(1), "w_bank": In(range(max(layout.banks, 2))), "w_addr": In(address),
            "w_offset": In(range(max(first.lanes, 2))), "w_count": In(range(e + 1)),
            "w_data": In(data.ArrayLayout(unsigned(bits), e)),
            "r_addr": In(data.ArrayLayout(address, layout.banks)),
            "r_data": Out(data.ArrayLayout(data.ArrayLayout(unsigned(bits), first.lanes), layout.banks)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        layout, first = self.layout, self.layout.rings[0]
        may = Signal(init=1)
        writes = row_writes(m, first, self.input, self.i, may)
        rows = Signal(range(max(first.schedule.node.y.size, 2)))
        final = Signal()
        m.d.comb += [final.eq(rows == first.schedule.node.y.size - 1), self.taken.eq(writes.row_written & final)]
        with m.If(writes.row_written):
            m.d.sync += rows.eq(Mux(final, 0, rows + 1))
        with m.If(self.taken):
            m.d.sync += may.eq(0)
        with m.If(self.open):
            m.d.sync += may.eq(1)

        # Wires of the input are as wide as the input's format, those of the memory as the widest one's.
        values = Signal(data.ArrayLayout(Shape(self.bits, self.input.signed), self.width))
        m.d.comb += [values[k].eq(writes.values[k]) for k in range(first.width)]
        with m.If(self.w_en):
            m.d.comb += [values[k].eq(self.w_data[k]) for k in range(self.e)]
        for number in range(layout.banks):
            m.submodules[f"bank{number}"] = ram = LaneMemory(
                shape=unsigned(self.bits), depth=layout.bank_words, lanes=first.lanes, width=self.width,
                offsets=self.offsets, straddle=self.straddle, late=WRITE_LATENCY, spread=True,
            )  # fmt: skip
            m.d.comb += [
                ram.w_en.eq(Mux(self.w_en, self.w_bank == number, writes.bank == number)),
                ram.w_addr.eq(Mux(self.w_en, self.w_addr, writes.addr)),
                ram.w_offset.eq(Mux(self.w_en, self.w_offset, writes.offset)),
                ram.w_count.eq(Mux(self.w_en, self.w_count, writes.count)),
                ram.w_data.eq(values),
                ram.r_en.eq(1), ram.r_addr.eq(register(m, self.r_addr[number], stages=int(self.early))),
                self.r_data[number].eq(register(m, ram.r_data, stages=int(not self.early), reset=False)),
            ]  # fmt: skip
        return m
