"""Requantisation with managed exponents in gateware: the rule of `organza.managed_epilogue` around an `EpilogueUnit`.

The bias is aligned on its way into the unit, for every value anew: a shifter for each unit instead of a memory for all
aligned biases and the time to fill it between two images. It is the same number for all values of an image.
"""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.epilogue import MAX_SHIFT
from organza.formats import Managed
from organza.managed_epilogue import ManagedEpilogue
from organza.program import Convolve
from organza_hw.epilogue import EpilogueUnit
from organza_hw.exponents import EXPONENT

ALIGN_LATENCY = 2


def align_latency(node: Convolve) -> int:
    """Cycles in front of the `EpilogueUnit` in which the bias of a layer is aligned."""
    return ALIGN_LATENCY if isinstance(node.input, Managed) else 0


class BiasShift:
    """How far the bias mantissas of a layer are moved: `left` always, then right by e_in - `origin`.

    bits : of the right shift.
    """

    def __init__(self, node: Convolve):
        epilogue = node.epilogue
        assert isinstance(epilogue, ManagedEpilogue)
        least, most = (node.input_exponents[k] - epilogue.bias_exponent for k in (0, -1))
        self.left = max(-least, 0)
        self.origin = epilogue.bias_exponent - self.left
        self.bits = max((most + self.left).bit_length(), 1)


class ManagedUnit(wiring.Component):
    """One channel a cycle. Latency `latency` cycles, no back-pressure.

    Members
    -------
    sum, positive, negative, q, wide : as of `EpilogueUnit`.
    bias : In, mantissa. shift : In, base. right : In, of `BiasShift`. e_in, e_out : In, exponents of the image that `sum` belongs to.
    """

    sum: Signal
    bias: Signal
    positive: Signal
    negative: Signal
    shift: Signal
    right: Signal
    e_in: Signal
    e_out: Signal
    q: Signal
    wide: Signal

    def __init__(self, node: Convolve, *, sum_bits, bias, positive, negative, shift, output, to_wire=None, file=None):
        self.align = align_latency(node)
        self.bias_shift = BiasShift(node)
        self.inner = EpilogueUnit(
            node.epilogue, sum_bits=sum_bits, bias=signed(sum_bits), positive=positive, negative=negative,
            shift=range(MAX_SHIFT + 1), output=output, to_wire=to_wire, file=file,
        )  # fmt: skip
        self.rom = self.inner.rom
        super().__init__({
            "sum": In(signed(node.dot_bits)),
            "bias": In(bias), "positive": In(positive), "negative": In(negative), "shift": In(shift),
            "right": In(self.bias_shift.bits), "e_in": In(EXPONENT), "e_out": In(EXPONENT),
            "q": Out(output), "wide": Out(self.inner.wide.shape()),
        })  # fmt: skip

    @property
    def latency(self):
        """Cycles from `sum` to `q`."""
        return self.align + self.inner.latency

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = self.inner
        bias = Signal(signed(len(self.bias) + 1))  # one bit more: biases that are all positive have no sign
        # Half up with one shifter, as in the unit: a zero below bit 0 takes the bit that rounds.
        doubled = Signal(signed(len(bias) + self.bias_shift.left + 1))
        aligned = Signal(signed(inner.sum_bits))
        change, base = Signal(signed(len(self.e_in) + 1)), Signal.like(self.shift)
        shift = Signal(range(MAX_SHIFT + 1))
        domain = m.d.sync if self.align else m.d.comb
        domain += [
            doubled.eq(Cat(C(0, self.bias_shift.left + 1), bias).as_signed() >> self.right),
            aligned.eq((doubled >> 1) + doubled[0]),
            change.eq(self.e_out - self.e_in), base.eq(self.shift),
            shift.eq(base + change),
        ]  # fmt: skip
        m.d.comb += [bias.eq(self.bias), inner.bias.eq(aligned), inner.shift.eq(shift), self.q.eq(inner.q), self.wide.eq(inner.wide)]
        for name in ("sum", "positive", "negative"):
            value = getattr(self, name)
            for cycle in range(self.align):
                held = Signal.like(value, name=f"{name}_{cycle}")
                m.d.sync += held.eq(value)
                value = held
            m.d.comb += getattr(inner, name).eq(value)
        return m
