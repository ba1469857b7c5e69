"""Requantisation in gateware: the integer rule of `organza.epilogue`, E channels a cycle."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza.epilogue import MULTIPLIER_BITS, Epilogue
from organza_hw.rom import Rom


def _shape_of(low, high):
    """Narrowest shape that holds low…high."""
    if low < 0:
        return signed(max(max(high, 0).bit_length(), (-low - 1).bit_length()) + 1)
    return unsigned(max(high.bit_length(), 1))


class Constants:
    """Bias, multipliers and shifts of a layer as words of E channels; fields that never change stay out of the words.

    Parameters
    ----------
    epilogue : the layer's `Epilogue`.
    chunks : for each word the list of its output channels, at most E.
    extra : for each word a dictionary of unsigned values that travel with it.
    """

    def __init__(self, epilogue: Epilogue, *, e: int, chunks: list[list[int]], extra: list[dict]):
        self.fields, self.fixed, self.e = {}, {}, e
        columns = {"bias": epilogue.bias, "positive": epilogue.positive,
                   "negative": epilogue.negative, "shift": epilogue.shift}  # fmt: skip
        for name, values in columns.items():
            low, high = int(values.min()), int(values.max())
            if low == high:
                self.fixed[name] = Const(low, _shape_of(low, high))
            else:
                self.fields[name] = _shape_of(min(low, 0), max(high, 0))
        extra_fields = {key: unsigned(max(1, max(item[key] for item in extra).bit_length())) for key in extra[0]}
        unit = data.StructLayout(self.fields)
        self.layout = data.StructLayout({"units": data.ArrayLayout(unit, e), **extra_fields})
        self.words = []
        for channels, item in zip(chunks, extra, strict=True):
            units = [
                {name: int(columns[name][channels[k]]) if k < len(channels) else 0 for name in self.fields}
                for k in range(e)
            ]
            word = self.layout.const({"units": units, **item}).as_value()
            self.words.append(word.value % (1 << self.layout.size) if self.layout.size else 0)

    def take(self, word, unit, name):
        """The constant `name` of unit number `unit` from a word."""
        return self.fixed[name] if name in self.fixed else word.units[unit][name]


class EpilogueUnit(wiring.Component):
    """One channel a cycle. Latency `LATENCY` cycles (one more with a table), no back-pressure.

    Members
    -------
    sum : In, exact accumulator. bias, positive, negative, shift : In. q : Out(output), the layer's output; `to_wire` makes
        wires of a table's entries.
    wide : Out, what became q or the table's address before it was clamped; `LATENCY` cycles after `sum`.
    """

    LATENCY = 5

    sum: Signal
    bias: Signal
    positive: Signal
    negative: Signal
    shift: Signal
    q: Signal
    wide: Signal

    def __init__(self, epilogue: Epilogue, *, sum_bits, bias, positive, negative, shift, output, to_wire=None, file=None):
        self.epilogue, self.sum_bits, shape = epilogue, sum_bits, Shape.cast(output)
        self.file = file
        super().__init__({
            "sum": In(signed(sum_bits)),
            "bias": In(bias), "positive": In(positive), "negative": In(negative), "shift": In(shift),
            "q": Out(shape),
            "wide": Out(signed(sum_bits + MULTIPLIER_BITS + 1)),
        })  # fmt: skip
        self.rom = None
        if epilogue.table is not None:
            mask = (1 << shape.width) - 1
            entries = to_wire(epilogue.table) if to_wire else epilogue.table
            self.rom = Rom(width=shape.width, words=[int(v) & mask for v in entries], file=file)

    @property
    def latency(self):
        """Cycles from `sum` to `q`."""
        return self.LATENCY + (self.rom is not None)

    def elaborate(self, platform):
        m = Module()
        low, high = self.epilogue.low, self.epilogue.high
        biased = Signal(signed(self.sum_bits))  # wide enough: the accumulator width covers the bias
        positive, negative = Signal.like(self.positive), Signal.like(self.negative)
        m.d.sync += [
            biased.eq(self.sum + self.bias), positive.eq(self.positive), negative.eq(self.negative),
        ]  # fmt: skip
        product = Signal(signed(self.sum_bits + MULTIPLIER_BITS))
        product_held = Signal.like(product)
        m.d.sync += [product.eq(biased * Mux(biased < 0, negative, positive)), product_held.eq(product)]
        shift = self.shift
        for stage in range(3):
            held = Signal.like(self.shift, name=f"shift_{stage}")
            m.d.sync += held.eq(shift)
            shift = held
        # (p + 2**(s-1)) >> s = (p >> s) + bit s-1 of p, so one shifter does both; s = 0 takes the zero below bit 0.
        shifted = Signal(signed(self.sum_bits + MULTIPLIER_BITS + 1))
        m.d.sync += shifted.eq(Cat(C(0, 1), product_held).as_signed() >> shift)
        rounded = Signal(signed(self.sum_bits + MULTIPLIER_BITS + 1))
        m.d.comb += rounded.eq((shifted >> 1) + shifted[0])
        clamped = Signal(_shape_of(low, high))
        m.d.sync += [clamped.eq(Mux(rounded < low, low, Mux(rounded > high, high, rounded))), self.wide.eq(rounded)]
        if self.rom is None:
            m.d.comb += self.q.eq(clamped)
        else:
            m.submodules.table = self.rom
            m.d.comb += [self.rom.addr.eq(clamped - low), self.q.eq(self.rom.data)]
        return m
