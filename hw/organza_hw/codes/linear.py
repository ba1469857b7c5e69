"""Linear weights: a multiplier."""

from amaranth import *

from organza.codes import Linear
from organza_hw.codes.term import Term


class LinearTerm(Term):
    """Activation × two's complement weight."""

    kind = Linear.kind

    def __init__(self, code: Linear):
        self.field_shape = signed(code.bits)

    def product(self, m, activation, field):
        return activation * field
