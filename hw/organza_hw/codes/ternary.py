"""Ternary weights: add, subtract or skip; the two code bits are the controls."""

from amaranth import *

from organza.codes import Ternary
from organza_hw.codes.term import Term
from organza_hw.lanes.planes import signed_sum


class TernaryTerm(Term):
    """Field bit 0 lets the activation pass, bit 1 negates it."""

    kind = Ternary.kind
    more_latency = 1

    def __init__(self, code: Ternary):
        self.field_shape = unsigned(2)

    def product(self, m, activation, field):
        passed = Mux(field[0], activation, 0)
        return Mux(field[1], -passed, passed)

    def dots(self, m, activations, words, *, exists, instances):
        return [
            signed_sum(m, activations, [field[0] for field in word], [field[1] for field in word], instances=instances)
            for word in words
        ]
