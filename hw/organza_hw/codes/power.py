"""Power-of-two weights: a shifter."""

from amaranth import *

from organza.codes import PowerOfTwo
from organza_hw.codes.term import Term
from organza_hw.lanes.dot import register


class PowerTerm(Term):
    """Top field bit negates; the others shift by their value - 1, or give zero."""

    kind = PowerOfTwo.kind
    product_latency = 2

    def __init__(self, code: PowerOfTwo):
        self.bits, self.magnitude = code.bits, code.magnitude
        self.field_shape = unsigned(code.bits)

    def product(self, m, activation, field, *, instances=False):
        exponent, negative = field[: self.bits - 1], field[self.bits - 1]
        # Shifting the doubled-down activation by exponent (not exponent - 1) saves the subtraction: bit 0 is dropped.
        shifted = Signal(Shape(len(activation) + self.magnitude.bit_length(), activation.shape().signed))
        m.d.comb += shifted.eq(Mux(exponent == 0, 0, activation << exponent))
        exact = register(m, shifted >> 1)
        return register(m, Mux(register(m, negative), -exact, exact))
