"""Binary weights: the code bit negates the activation."""

from amaranth import *

from organza.codes import Binary
from organza_hw.codes.term import Term
from organza_hw.lanes import planes, signs
from organza_hw.lanes.dot import add_tree, register
from organza_hw.lanes.planes import flipped_sum, plane


class BinaryTerm(Term):
    """Field 1 negates. A lane without weight gets the activation 0."""

    kind = Binary.kind

    def __init__(self, code: Binary):
        self.field_shape, self.adder = unsigned(1), code.adder

    def latency(self, ti):
        return planes.latency(ti) + 1

    def product(self, m, activation, field, *, instances=False):
        return register(m, Mux(field, -activation, activation))

    def dots(self, m, activations, words, *, exists, instances):
        made = {"adder": self.adder, "instances": instances}
        if self.adder.flips:
            return [flipped_sum(m, activations, word, exists, **made) for word in words]
        # ±a = a - 2·a·field: the sum of all activations is the same for every output channel.
        everything = add_tree(m, activations) if len(activations) > 1 else register(m, activations[0])
        return [register(m, everything - (plane(m, activations, word, **made) << 1)) for word in words]


class XnorTerm(BinaryTerm):
    """Signs times signs: counts where they differ."""

    arithmetic = "xnor"

    def latency(self, ti):
        return signs.latency(ti)

    def dots(self, m, activations, words, *, exists, instances):
        return signs.sign_sums(m, activations, words, exists, instances=instances)
