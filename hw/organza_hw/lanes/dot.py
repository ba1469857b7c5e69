"""Lanes of all codes that deliver one field a weight: To × P dot products of Ti terms."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


def add_tree(m, terms, *, levels_per_stage=2):
    """Sum of `terms` through pairwise adders with a register after every `levels_per_stage` levels."""
    level = 0
    while len(terms) > 1:
        terms = [sum(terms[k : k + 2]) for k in range(0, len(terms), 2)]
        level += 1
        if level % levels_per_stage == 0:
            held = [Signal.like(term) for term in terms]
            m.d.sync += [register.eq(term) for register, term in zip(held, terms, strict=True)]
            terms = held
    return terms[0]


class DotLanes(wiring.Component):
    """Exact dot products.

    Throughput one issue a cycle, no back-pressure, latency `latency(ti)` cycles.

    Parameters
    ----------
    term : arithmetic of one lane, see `organza_hw.codes`. activation : amaranth Shape. ti, to, p : lanes.
    sum_bits : signed width of a sum. span : channels of a ring word, here the same as Ti.

    Members
    -------
    activations : In, P × Ti. weights : In, To × Ti fields, shared by the pixels. sums : Out, P × To.
    """

    activations: data.View
    weights: data.View
    sums: data.View

    def __init__(self, term, *, activation, ti, to, p, sum_bits, span=None):
        self.term, self.ti, self.to, self.p = term, ti, to, p
        super().__init__({
            "activations": In(data.ArrayLayout(data.ArrayLayout(activation, ti), p)),
            "weights": In(data.ArrayLayout(data.ArrayLayout(term.field_shape, ti), to)),
            "sums": Out(data.ArrayLayout(data.ArrayLayout(signed(sum_bits), to), p)),
        })  # fmt: skip

    @staticmethod
    def latency(ti):
        """Cycles from operands to sums: a register behind the products and one for every two adder levels."""
        return 1 + (ti - 1).bit_length() // 2

    def elaborate(self, platform):
        m = Module()
        term = self.term
        for pixel in range(self.p):
            shared = 0
            if term.offset:
                held = Signal.like(self.activations[pixel], name=f"held_{pixel}")
                m.d.sync += held.eq(self.activations[pixel])
                shared = add_tree(m, [held[lane] for lane in range(self.ti)]) * term.offset
            for channel in range(self.to):
                products = []
                for lane in range(self.ti):
                    product = term.product(m, self.activations[pixel][lane], self.weights[channel][lane])
                    register = Signal.like(product, name=f"product_{pixel}_{channel}_{lane}")
                    m.d.sync += register.eq(product)
                    products.append(register)
                m.d.comb += self.sums[pixel][channel].eq((add_tree(m, products) << term.fraction) - shared)
        return m
