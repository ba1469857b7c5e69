"""Exponents of the image that an engine requantises: header in, exponent unit, header out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.formats import Managed
from organza.program import Convolve
from organza_hw.exponents import EXPONENT, STATUS, ExponentUnit, Peaks
from organza_hw.managed_epilogue import BiasShift
from organza_hw.table import Table


class ImageExponents(wiring.Component):
    """The exponents of the image that a layer requantises: that of its input from the header, that of its output by the rule.

    Latency: `e_in`, `right`, `e_out` and `exponent` follow `begin` by `LATENCY` cycles. No back-pressure: the caller sees to it that
    a header is there and that `exponent` can be taken.

    Parameters
    ----------
    e, bits : see `Peaks`.

    Members
    -------
    begin : In(1), the first values of the next image are about to be requantised.
    header : In, stream of exponents of the input, if that is managed; one is taken with `begin`.
    e_in, e_out, right : Out, for `ManagedUnit`; 0 for a tensor that is not managed.
    If the output is managed:
    exponent : Out, stream, the exponent of every image. status : Out, see `ExponentUnit`.
    count, values, wide, end : In, of `Peaks`, behind the requantisers.
    """

    LATENCY = 2

    begin: Signal
    header: stream.Interface
    e_in: Signal
    e_out: Signal
    right: Signal
    exponent: stream.Interface
    status: stream.Interface
    count: Signal
    values: data.View
    wide: data.View
    end: Signal

    def __init__(self, node: Convolve, *, e, bits):
        self.node, self.bias_shift = node, BiasShift(node)
        members = {"begin": In(1), "e_in": Out(EXPONENT), "e_out": Out(EXPONENT), "right": Out(self.bias_shift.bits)}
        if isinstance(node.input, Managed):
            members["header"] = In(stream.Signature(EXPONENT))
        self.peaks = None
        if isinstance(node.output, Managed):
            self.peaks = peaks = Peaks(e=e, bits=bits)
            self.unit = ExponentUnit(node.output.rule, excess=peaks.excess.shape())
            members |= {"exponent": Out(stream.Signature(EXPONENT)), "status": Out(stream.Signature(STATUS, always_ready=True))}
            members |= {name: peaks.signature.members[name] for name in ("count", "values", "wide", "end")}
        super().__init__(members)

    @staticmethod
    def latency(e):
        """Cycles from the `end` of an image to the first `begin` that may rest on it."""
        return Peaks.latency(e) + ExponentUnit.LATENCY - 1  # the unit is told of `begin` a cycle later

    def elaborate(self, platform):
        m = Module()
        node = self.node
        exponents, e_in = node.input_exponents, C(0, EXPONENT)
        if isinstance(node.input, Managed):
            e_in = self.header.payload
            m.d.comb += self.header.ready.eq(self.begin)
        taken, begun = Signal(EXPONENT), Signal()
        m.d.sync += begun.eq(self.begin)
        with m.If(self.begin):
            m.d.sync += taken.eq(e_in)
        with m.If(begun):
            m.d.sync += [self.e_in.eq(taken), self.right.eq(taken - self.bias_shift.origin)]
        if self.peaks is None:
            return m
        m.submodules.peaks, m.submodules.unit = peaks, unit = self.peaks, self.unit
        # What keeps the shifts in range, for every exponent of the input; the bits of signed numbers.
        bounds = [node.output_exponents(e) for e in exponents]
        bits, low, high = (1 << EXPONENT.width) - 1, Signal(EXPONENT), Signal(EXPONENT)
        m.submodules.bounds = table = Table([{"low": least & bits, "high": most & bits} for least, most in bounds])
        m.d.comb += [
            table.index.eq(e_in - exponents[0]), unit.begin.eq(begun), unit.low.eq(low), unit.high.eq(high),
            unit.done.eq(peaks.done), unit.peak.eq(peaks.peak), unit.excess.eq(peaks.excess),
            self.e_out.eq(unit.exponent), self.exponent.payload.eq(unit.exponent),
            self.status.valid.eq(unit.status.valid), self.status.payload.eq(unit.status.payload),
        ]  # fmt: skip
        m.d.sync += [self.exponent.valid.eq(begun), low.eq(table.row.low.as_signed()), high.eq(table.row.high.as_signed())]
        for name in ("count", "values", "wide", "end"):
            m.d.comb += getattr(peaks, name).eq(getattr(self, name))
        return m
