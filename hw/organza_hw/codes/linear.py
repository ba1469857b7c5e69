"""Linear weights: a multiplier, half a multiplier, or none."""

from amaranth import *

from organza.codes import Linear
from organza_hw.codes.term import Term
from organza_hw.lanes import planes
from organza_hw.lanes.dot import add_tree, register, tree_latency
from organza_hw.lanes.packed import narrow_pair, wide_pair
from organza_hw.multiply import LATENCY, multiply


class LinearTerm(Term):
    """Activation × two's complement weight."""

    kind = Linear.kind
    product_latency = LATENCY

    def __init__(self, code: Linear):
        self.field_shape = signed(code.bits)

    def product(self, m, activation, field, *, instances=False):
        return multiply(m, activation, field, instances=instances)


class PlaneTerm(LinearTerm):
    """Σ of gated activations for every bit of the weights, no multiplier; for weights of few bits."""

    arithmetic = "lut"

    def latency(self, ti):
        return planes.latency(ti) + tree_latency(-(-self.field_shape.width // 2)) + 1

    def dots(self, m, activations, words, *, exists, instances):
        made = []
        for word in words:
            sums = [
                planes.plane(m, activations, [field.as_unsigned()[bit] for field in word], instances=instances)
                for bit in range(self.field_shape.width)
            ]
            # The top plane counts negative; neighbours first, so that no adder is wider than it must be.
            terms, top = [], len(sums) - 1
            for bit in range(0, len(sums), 2):
                low, high = sums[bit], sums[bit + 1] if bit < top else None
                pair = low if high is None else (low - (high << 1) if bit + 1 == top else low + (high << 1))
                terms.append(register(m, -pair if high is None and bit == top else pair) << (2 * len(terms)))
            made.append(add_tree(m, terms))
        return made


class PackedTerm(LinearTerm):
    """Two output channels share a multiplier, and each product comes out exact; see `organza_hw.lanes.packed`."""

    arithmetic = "packed"
    more_latency = 1

    def dots(self, m, activations, words, *, exists, instances):
        pair = narrow_pair if self.field_shape.width <= 4 else wide_pair
        made = []
        for k in range(0, len(words) - 1, 2):
            both = [
                pair(m, activation, low, high, instances=instances)
                for activation, low, high in zip(activations, words[k], words[k + 1], strict=True)
            ]
            made += [add_tree(m, [register(m, product) for product in products]) for products in zip(*both, strict=True)]
        if len(words) % 2:
            alone = zip(activations, words[-1], strict=True)
            # As late as a corrected pair.
            products = [register(m, self.product(m, *one, instances=instances)) for one in alone]
            made.append(add_tree(m, products))
        return made
