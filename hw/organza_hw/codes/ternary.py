"""Ternary weights: add, subtract or skip; the two code bits are the controls."""

from amaranth import *

from organza.codes import Ternary
from organza_hw.codes.term import Term
from organza_hw.lanes.dot import register
from organza_hw.lanes.planes import signed_sum, signed_sum_latency, signed_tree, signed_tree_latency


class TernaryTerm(Term):
    """Field bit 0 lets the activation pass, bit 1 negates it."""

    kind = Ternary.kind

    def __init__(self, code: Ternary):
        self.field_shape = unsigned(2)

    def latency(self, ti):
        return signed_tree_latency(ti) if self.short else signed_sum_latency(ti)

    def product(self, m, activation, field, *, instances=False):
        passed = Mux(field[0], activation, 0)
        return register(m, Mux(field[1], -passed, passed))

    def dots(self, m, activations, words, *, exists, instances):
        made = []
        for word in words:
            controls = [field[0] for field in word], [field[1] for field in word]
            if self.short:
                made.append(signed_tree(m, activations, *controls))
            else:
                made.append(signed_sum(m, activations, *controls, instances=instances))
        return made
