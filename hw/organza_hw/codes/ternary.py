"""Ternary weights: add, subtract or skip; the two code bits are the controls."""

from amaranth import *

from organza.codes import Ternary
from organza_hw.codes.term import Term


class TernaryTerm(Term):
    """Field bit 0 lets the activation pass, bit 1 negates it."""

    kind = Ternary.kind

    def __init__(self, code: Ternary):
        self.field_shape = unsigned(2)

    def product(self, m, activation, field):
        passed = Mux(field[0], activation, 0)
        return Mux(field[1], -passed, passed)
