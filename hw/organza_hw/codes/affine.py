"""Affine weights: unsigned levels at the lanes, the offset once for all output channels."""

from amaranth import *

from organza.codes import Affine
from organza_hw.codes.term import Term
from organza_hw.multiply import LATENCY, multiply


class AffineTerm(Term):
    """Activation × unsigned level; fraction and offset do the rest."""

    kind = Affine.kind
    product_latency = LATENCY

    def __init__(self, code: Affine):
        self.field_shape = unsigned(code.bits)
        self.fraction, self.offset = code.fraction, code.offset

    def product(self, m, activation, field, *, instances=False):
        return multiply(m, activation, field, instances=instances)
