"""Requantisation in gateware: the integer rule of `organza.epilogue`, E channels a cycle."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.epilogue import MAX_SHIFT, MULTIPLIER_BITS, Epilogue
from organza_hw.compare import less_than
from organza_hw.lanes.dot import register
from organza_hw.multiply import multiply, multiply_latency
from organza_hw.rom import Rom

FINE_BITS = 3  # of a shift, that the second of two shifters does


def _shape_of(low, high):
    """Narrowest shape that holds low…high."""
    if low < 0:
        return signed(max(max(high, 0).bit_length(), (-low - 1).bit_length()) + 1)
    return unsigned(max(high.bit_length(), 1))


class Constants:
    """Bias, multipliers and shifts of a layer as words of E channels; fields that never change stay out of the words, unless
    they are loaded at run time.

    Parameters
    ----------
    epilogue : the layer's `Epilogue`.
    chunks : for each word the list of its output channels, at most E; None where one has none.
    extra : for each word a dictionary of unsigned values that travel with it.
    loads : bits of a loaded bias, None for constants that do not change.
    """

    def __init__(self, epilogue: Epilogue, *, e: int, chunks: Sequence[Sequence[int | None]], extra: list[dict], loads: int | None = None):
        self.fields, self.fixed, self.chunks = {}, {}, chunks
        columns = {"bias": epilogue.bias, "positive": epilogue.positive,
                   "negative": epilogue.negative, "shift": epilogue.shift}  # fmt: skip
        for name, values in columns.items():
            low, high = int(values.min()), int(values.max())
            if loads is not None:
                widths = {"bias": signed(loads), "shift": unsigned(MAX_SHIFT.bit_length())}
                self.fields[name] = widths.get(name, signed(MULTIPLIER_BITS))
            elif low == high:
                self.fixed[name] = Const(low, _shape_of(low, high))
            else:
                self.fields[name] = _shape_of(min(low, 0), max(high, 0))
        extra_fields = {key: unsigned(max(1, max(item[key] for item in extra).bit_length())) for key in extra[0]}
        unit = data.StructLayout(self.fields)
        self.layout = data.StructLayout({"units": data.ArrayLayout(unit, e), **extra_fields})
        self.words = []
        for channels, item in zip(chunks, extra, strict=True):
            units = [
                {name: 0 if channel is None else int(columns[name][channel]) for name in self.fields}
                for channel in [*channels, *[None] * (e - len(channels))]
            ]
            word = self.layout.const({"units": units, **item}).as_value()
            self.words.append(word.value % (1 << self.layout.size) if self.layout.size else 0)

    def columns(self, words: Sequence[int], count: int) -> dict[str, np.ndarray]:
        """What such words, of constants that are loaded, say of `count` channels: int64 (count,) by name."""
        made = {name: np.zeros(count, np.int64) for name in self.fields}
        for channels, word in zip(self.chunks, words, strict=True):
            units = self.layout.from_bits(word & (1 << self.layout.size) - 1).units
            for k, channel in enumerate(channels):
                for name, column in made.items():
                    if channel is not None:
                        column[channel] = Const.cast(units[k][name]).value
        return made

    def take(self, word, unit, name):
        """The constant `name` of unit number `unit` from a word."""
        return self.fixed[name] if name in self.fixed else word.units[unit][name]


class EpilogueUnit(wiring.Component):
    """One channel a cycle. Latency `latency_of` its sums (more with a table), no back-pressure: bias, product,
    two shifters, rounding, comparison with the limits and clamping each have their registers.

    Members
    -------
    sum : In, exact accumulator. bias, positive, negative, shift : In. q : Out(output), the layer's output; `to_wire` makes
        wires of a table's entries.
    wide : Out, what became q or the table's address before it was clamped, in the cycle in which that is there.
    choice : In, with the sum: 0 for `epilogue`, 1, 2, … for `others`. Only if there are others, of layers that share the unit: their
        limits and tables are here, and q is late for all if one has a table.
    """

    sum: Signal
    bias: Signal
    positive: Signal
    negative: Signal
    shift: Signal
    q: Signal
    wide: Signal
    choice: Signal

    def __init__(
        self, epilogue: Epilogue, *, sum_bits, bias, positive, negative, shift, output, to_wire=None, file=None, others=(), loads=False,
        early=False,
    ):
        self.epilogues, self.sum_bits, shape = [epilogue, *others], sum_bits, Shape.cast(output)
        self.instances = file is not None
        super().__init__({
            "sum": In(signed(sum_bits)),
            "bias": In(bias), "positive": In(positive), "negative": In(negative), "shift": In(shift),
            "q": Out(shape),
            "wide": Out(signed(sum_bits + MULTIPLIER_BITS + 1)),
            **({"choice": In(range(len(self.epilogues)))} if others else {}),
        })  # fmt: skip
        self.rom = None
        entries: list[int] = []
        self.starts = []  # of the epilogues' tables in the memory, None where there is none
        for one in self.epilogues:
            self.starts.append(None if one.table is None else len(entries))
            if one.table is not None:
                entries += (to_wire(one.table) if to_wire else one.table).tolist()
        if entries:
            mask = (1 << shape.width) - 1
            self.rom = Rom(width=shape.width, words=[int(v) & mask for v in entries], file=file, loads=loads, early=early)

    @staticmethod
    def latency_of(sum_bits: int, table: bool = False) -> int:
        """Cycles from `sum` of so many bits to `q`, with or without a table."""
        return 6 + multiply_latency(signed(sum_bits), signed(MULTIPLIER_BITS)) + table * Rom.LATENCY

    @property
    def latency(self):
        """Cycles from `sum` to `q`."""
        return self.latency_of(self.sum_bits, self.rom is not None)

    @staticmethod
    def _beyond(value, low, high):
        """Is `value` less than `low`, greater than `high`? Without a carry chain of all its bits: far outside, its upper ones tell."""
        width = max(Shape.cast(range(low, high + 1)).width + (low >= 0), 1)
        if width >= len(value):
            return value < low, value > high
        near, sign = value[:width].as_signed(), value[-1]
        far = (value[width - 1 : -1] ^ sign.replicate(len(value) - width)).any()
        return Mux(far, sign, less_than(near, low)), Mux(far, ~sign, ~less_than(near, high + 1))

    def elaborate(self, platform):
        m = Module()
        biased = Signal(signed(self.sum_bits))  # wide enough: the accumulator width covers the bias
        positive, negative = register(m, self.positive), register(m, self.negative)
        factor, product = Signal(signed(MULTIPLIER_BITS)), Signal(signed(self.sum_bits + MULTIPLIER_BITS))
        m.d.sync += biased.eq(self.sum + self.bias)
        m.d.comb += [
            factor.eq(Mux(biased < 0, negative, positive)),
            product.eq(multiply(m, biased, factor, instances=self.instances)),
        ]  # fmt: skip
        # (p + 2**(s-1)) >> s = (p >> s) + bit s-1 of p, so one shifter does both; s = 0 takes the zero below bit 0.
        shifted = 1 + multiply_latency(biased.shape(), factor.shape())
        shift = register(m, self.shift, stages=shifted)
        coarse, fine = Signal(signed(len(product) + 1)), Signal(signed(len(product) + 1))
        rounded, wide = Signal(signed(len(product) + 1)), Signal(signed(len(product) + 1))
        below, above = Signal(), Signal()
        limits = [(epilogue.low, epilogue.high) for epilogue in self.epilogues]
        clamped = Signal(_shape_of(min(low for low, _ in limits), max(high for _, high in limits)))
        choice = register(m, self.choice, stages=shifted + 3) if len(limits) > 1 else None
        clamps = None if choice is None else register(m, choice)
        low, high = (_constant(values, clamps) for values in zip(*limits, strict=True))
        beyond = [Cat(*self._beyond(rounded, *limit)) for limit in dict.fromkeys(limits)]
        which = [list(dict.fromkeys(limits)).index(limit) for limit in limits]
        m.d.sync += [
            coarse.eq(Cat(C(0, 1), product).as_signed() >> Cat(Const(0, FINE_BITS), shift[FINE_BITS:])),
            fine.eq(coarse >> register(m, shift[:FINE_BITS])),
            rounded.eq((fine >> 1) + fine[0]),
            Cat(below, above).eq(beyond[0] if choice is None else Array(beyond[k] for k in which)[choice]), wide.eq(rounded),
            clamped.eq(Mux(below, low, Mux(above, high, wide))), self.wide.eq(wide),
        ]  # fmt: skip
        if self.rom is None:
            m.d.comb += self.q.eq(clamped)
            return m
        m.submodules.table = self.rom
        if clamps is None:
            m.d.comb += [self.rom.addr.eq(clamped - low), self.q.eq(self.rom.data)]
            return m
        tabled = register(m, clamps)
        places = [0 if start is None else start - limit[0] for start, limit in zip(self.starts, limits, strict=True)]
        has = Array(int(start is not None) for start in self.starts)[register(m, tabled, stages=Rom.LATENCY)]
        entry, plain = Signal.like(self.q), register(m, clamped, stages=Rom.LATENCY)
        m.d.comb += [
            self.rom.addr.eq(clamped + _constant(places, tabled)), entry.eq(self.rom.data), self.q.eq(Mux(has, entry, plain)),
        ]  # fmt: skip
        return m


def _constant(values, choice) -> Any:
    """The one of these integers that `choice` counts, or the first without one."""
    return values[0] if choice is None else Array(Const(v, _shape_of(v, v)) for v in values)[choice]
