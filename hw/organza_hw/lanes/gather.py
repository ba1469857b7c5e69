"""Lanes of codes that skip zeros: each picks its activation out of a ring word by the index beside
its value."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.lanes.dot import DotLanes, add_tree


def choose(index, values):
    """The one of `values` at `index`, 0 beyond them: a tree of two-way multiplexers, one level for
    each index bit.

    For 16 values of 8 bits that is 106 LUT4 on ECP5; a switch over the 16 values takes 256.
    """
    for bit in index:
        pairs = [values[k : k + 2] for k in range(0, len(values), 2)]
        values = [Mux(bit, pair[1] if len(pair) > 1 else 0, pair[0]) for pair in pairs]
    return values[0]


class GatherLanes(wiring.Component):
    """Exact dot products of To × P × Ti activations, each chosen among `span`.

    An index beyond the word gives the activation 0. Throughput one issue a cycle, no back-pressure,
    latency `latency(ti)` cycles: a register behind the multiplexers, then as `DotLanes`.

    Parameters
    ----------
    term : arithmetic of one lane; its fields have a `value` and an `index`. activation : amaranth
        Shape.
    ti, to, p : lanes. sum_bits : signed width of a sum. span : channels of a ring word.

    Members
    -------
    activations : In, P × span. weights : In, To × Ti fields, shared by the pixels. exists : In(P), of no use here.
    sums : Out, P × To.
    """

    activations: data.View
    weights: data.View
    exists: Signal
    sums: data.View

    def __init__(self, term, *, activation, ti, to, p, sum_bits, span, instances=False):
        self.term, self.ti, self.to, self.p, self.span, self.instances = term, ti, to, p, span, instances
        self.activation = Shape.cast(activation)
        super().__init__({
            "activations": In(data.ArrayLayout(data.ArrayLayout(activation, span), p)),
            "weights": In(data.ArrayLayout(data.ArrayLayout(term.field_shape, ti), to)),
            "exists": In(p),
            "sums": Out(data.ArrayLayout(data.ArrayLayout(signed(sum_bits), to), p)),
        })  # fmt: skip

    @staticmethod
    def latency(ti):
        """Cycles from operands to sums."""
        return 1 + DotLanes.latency(ti)

    def elaborate(self, platform):
        m = Module()
        weights = Signal.like(self.weights)
        m.d.sync += weights.eq(self.weights)
        for pixel in range(self.p):
            for channel in range(self.to):
                products = []
                for lane in range(self.ti):
                    name = f"{pixel}_{channel}_{lane}"
                    chosen = Signal(self.activation, name=f"chosen_{name}")
                    word = [self.activations[pixel][number] for number in range(self.span)]
                    m.d.sync += chosen.eq(choose(self.weights[channel][lane].index, word))
                    products.append(self.term.product(m, chosen, weights[channel][lane], instances=self.instances))
                m.d.comb += self.sums[pixel][channel].eq(add_tree(m, products))
        return m
