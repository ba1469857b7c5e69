"""Lanes of all codes that deliver one field a weight: To × P dot products of Ti terms."""

from typing import Any

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out


def register(m, value, *, enable: Any = 1, stages=1, reset=True):
    """`value` a cycle later, or some `stages`, of cycles with `enable`.

    Without `reset` a block RAM can take it in, and what registers of data alone are in a large design needs no way from the reset to all of them.
    """
    for _ in range(stages):
        held = Signal.like(value, reset_less=not reset)
        with m.If(enable):
            m.d.sync += held.eq(value)
        value = held
    return value


def tree_latency(count: int) -> int:
    """Cycles of `add_tree` of so many terms."""
    return (count - 1).bit_length()


def add_tree(m, terms, *, sum_of=sum, enable: Any = 1):
    """Sum of `terms` through pairwise adders with a register behind each: two of them in a row are too slow.

    sum_of : of a list of one or two terms, in their order. enable : of the registers.
    """
    while len(terms) > 1:
        terms = [register(m, sum_of(terms[k : k + 2]), enable=enable, reset=False) for k in range(0, len(terms), 2)]
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
        """Cycles from operands to sums: a register behind the products and one behind every adder."""
        return 1 + tree_latency(ti)

    def elaborate(self, platform):
        m = Module()
        words = [[self.weights[channel][lane] for lane in range(self.ti)] for channel in range(self.to)]
        for pixel in range(self.p):
            activations = [self.activations[pixel][lane] for lane in range(self.ti)]
            sums = self.term.dots(m, activations, words, exists=self.exists[pixel], instances=self.instances)
            m.d.comb += [self.sums[pixel][channel].eq(total) for channel, total in enumerate(sums)]
        return m
