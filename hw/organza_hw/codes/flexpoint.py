"""Flexpoint weights: a multiplier of 16 × 16 bits; exponents meet the data only in the epilogue."""

from amaranth import *

from organza.codes import Flexpoint
from organza_hw.codes.term import Term
from organza_hw.multiply import LATENCY, multiply


class FlexpointTerm(Term):
    """Activation × mantissa of 16 bits, two's complement."""

    kind = Flexpoint.kind
    product_latency = LATENCY

    def __init__(self, code: Flexpoint):
        self.field_shape = signed(code.field_bits)

    def product(self, m, activation, field, *, instances=False):
        return multiply(m, activation, field, instances=instances)
