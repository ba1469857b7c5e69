"""Codebook weights, decoded at the multiplier."""

from amaranth import *

from organza.codes import Codebook
from organza_hw.codes.term import Term


class CodebookTerm(Term):
    """Index → centroid in logic, then a multiplier."""

    kind = Codebook.kind

    def __init__(self, code: Codebook):
        self.centroids = code.centroids.tolist()
        self.field_shape = unsigned(code.field_bits)
        bits = max(value.bit_length() if value >= 0 else (-value - 1).bit_length() for value in self.centroids) + 1
        self.centroid_shape = signed(bits)

    def decode(self, m, field):
        """The centroid of an index."""
        centroid = Signal(self.centroid_shape)
        with m.Switch(field):
            for index, value in enumerate(self.centroids):
                with m.Case(index):
                    m.d.comb += centroid.eq(value)
        return centroid

    def product(self, m, activation, field):
        return activation * self.decode(m, field)
