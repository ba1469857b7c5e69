"""Binary weights: the code bit negates the activation."""

from amaranth import *

from organza.codes import Binary
from organza_hw.codes.term import Term


class BinaryTerm(Term):
    """Field 1 negates. A lane without weight gets the activation 0."""

    kind = Binary.kind

    def __init__(self, code: Binary):
        self.field_shape = unsigned(1)

    def product(self, m, activation, field):
        return Mux(field, -activation, activation)
