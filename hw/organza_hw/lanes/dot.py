"""Lanes of all codes that deliver one field a weight: To × P dot products of Ti terms."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

LEVELS_PER_STAGE = 2


def register(m, value):
    """`value` a cycle later."""
    held = Signal.like(value)
    m.d.sync += held.eq(value)
    return held


def add_tree(m, terms, *, level=0, sum_of=sum):
    """Sum of `terms` through pairwise adders with a register after every second level; `level` are already done.

    sum_of : of a list of one or two terms, in their order.
    """
    while len(terms) > 1:
        terms = [sum_of(terms[k : k + 2]) for k in range(0, len(terms), 2)]
        level += 1
        if level % LEVELS_PER_STAGE == 0:
            terms = [register(m, term) for term in terms]
    return terms[0]


class DotLanes(wiring.Component):
    """Dot products, exact or as the term has it.

    Throughput one issue a cycle, no back-pressure, latency `term.latency(ti)` cycles.

    Parameters
    ----------
    term : arithmetic of the lanes, see `organza_hw.codes`. activation : amaranth Shape. ti, to, p : lanes.
    sum_bits : signed width of a sum. span : channels of a ring word, here the same as Ti.
    instances : may use cells that only Verilog knows (`organza_hw.lanes.carry`).

    Members
    -------
    activations : In, P × Ti. weights : In, To × Ti fields, shared by the pixels. sums : Out, P × To.
    exists : In(P), 0 for pixels whose sums must be 0; so are their activations.
    """

    activations: data.View
    weights: data.View
    exists: Signal
    sums: data.View

    def __init__(self, term, *, activation, ti, to, p, sum_bits, span=None, instances=False):
        self.term, self.ti, self.to, self.p, self.instances = term, ti, to, p, instances
        super().__init__({
            "activations": In(data.ArrayLayout(data.ArrayLayout(activation, ti), p)),
            "weights": In(data.ArrayLayout(data.ArrayLayout(term.field_shape, ti), to)),
            "exists": In(p),
            "sums": Out(data.ArrayLayout(data.ArrayLayout(signed(sum_bits), to), p)),
        })  # fmt: skip

    @staticmethod
    def latency(ti):
        """Cycles from operands to sums: a register behind the products and one for every two adder levels."""
        return 1 + (ti - 1).bit_length() // LEVELS_PER_STAGE

    def elaborate(self, platform):
        m = Module()
        words = [[self.weights[channel][lane] for lane in range(self.ti)] for channel in range(self.to)]
        for pixel in range(self.p):
            activations = [self.activations[pixel][lane] for lane in range(self.ti)]
            sums = self.term.dots(m, activations, words, exists=self.exists[pixel], instances=self.instances)
            m.d.comb += [self.sums[pixel][channel].eq(total) for channel, total in enumerate(sums)]
        return m
