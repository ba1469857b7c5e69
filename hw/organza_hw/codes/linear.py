"""Linear weights: a multiplier."""

from amaranth import *

from organza.codes import Linear


class LinearTerm:
    """Activation × two's complement weight."""

    kind = Linear.kind

    def __init__(self, code: Linear):
        self.field_shape = signed(code.bits)

    def product(self, m, activation, field):
        """Value of one lane, exact."""
        return activation * field
