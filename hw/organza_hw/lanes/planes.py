"""Dot products of activations with weights of few bits, without multipliers: bit planes and ones' complements.

A bit plane is Σ a·b over bits b: activations gated in pairs on their way into the first adders, which cost nothing but the
adders (`organza_hw.lanes.carry`). Costs: docs/results/lanes.json.
"""

from functools import reduce
from operator import or_

from amaranth import *

from organza.adders import EXACT, Adder
from organza_hw.adders import add, add_pair
from organza_hw.lanes.carry import add_inverted, popcount, widen
from organza_hw.lanes.dot import add_tree, register, tree_latency

CHAIN = 4  # terms that a chain of `signed_sum` adds up


def latency(ti: int) -> int:
    """Cycles of a `plane` of Ti terms: the first adders gate, so there is no register in front of them."""
    return max(tree_latency(ti), 1)


def plane(m, activations, gates, *, adder=EXACT, instances):
    """Tree of the activations whose gate is 1, or of all, flipped by it, if `adder.flips`; after `latency`."""
    if adder.kind == "loa" and adder.low > 1:
        # Only the highest of the low bits makes carries. Of those below nothing but their OR is left, four to a LUT.
        below = adder.low - 1
        bits = [Cat(gate & bit for bit in value[:below]) for value, gate in zip(activations, gates, strict=True)]
        above = plane(m, [value.shift_right(below) for value in activations], gates, adder=Adder("loa", 1), instances=instances)
        joined = Cat(_joined(m, bits), above)
        return joined.as_signed() if above.shape().signed else joined
    pairs = []
    for k in range(0, len(activations) - 1, 2):
        first, second = ((activations[k + n], gates[k + n]) for n in range(2))
        pairs.append(add_pair(m, adder, first, second, instances=instances))
    if len(activations) % 2:
        value, gate = activations[-1], gates[-1]
        alone = value.as_unsigned()
        alone = alone ^ gate.replicate(len(value)) if adder.flips else alone & gate.replicate(len(value))
        pairs.append(alone.as_signed() if value.shape().signed else alone)
    if len(activations) <= 2:
        return register(m, pairs[0])

    def sum_of(terms):
        return add(m, adder, *terms) if len(terms) == 2 else terms[0]

    return add_tree(m, [register(m, pair) for pair in pairs], sum_of=sum if adder.exact else sum_of)


def _joined(m, values):
    """OR of `values`, after `latency`."""
    for _ in range(latency(len(values))):
        values = [register(m, reduce(or_, values[k : k + 2])) for k in range(0, len(values), 2)]
    (joined,) = values
    return joined


def flipped_sum(m, activations, negatives, exists, *, adder, instances):
    """Σ of the activations, subtracted where negative, through a tree of `adder`, or 0; one cycle more than `latency`.

    exists : whether there is anything to add up. Approximate adders make something of nothing.
    """
    total = plane(m, activations, negatives, adder=adder, instances=instances)
    stages = latency(len(activations))
    missing = _missing_ones(m, activations, negatives, stages)
    return register(m, Mux(register(m, exists, stages=stages), total + missing, 0))


def signed_sum_latency(ti: int) -> int:
    """Cycles of `signed_sum` of Ti terms."""
    return min(ti, CHAIN) - (ti > 1) + tree_latency(-(-ti // CHAIN)) + 1


def signed_sum(m, activations, passes, negatives, *, instances):
    """Σ of the activations that pass, subtracted where negative, after `signed_sum_latency`.

    -a is ~a + 1. The ones that are missing (for unsigned n-bit activations, whose ~a is a + 1 too small and 2**n too
    large, 1 - 2**n each) depend on the weights alone: their number is counted once and added behind the tree. A
    chain of four terms costs less than a tree, whose adders each need one operand gated in front.
    """
    shape = Value.cast(activations[0]).shape()
    stages = signed_sum_latency(len(activations)) - 1
    deep = stages - tree_latency(-(-len(activations) // CHAIN))  # registers of a chain
    chains = []
    for k in range(0, len(activations), CHAIN):
        taken = [(a, p, n) for a, p, n in zip(activations[k:], passes[k:], negatives[k:], strict=True)][:CHAIN]
        value, gate, negative = taken[0]
        bits = Value.cast(value).as_unsigned()
        total = (bits & gate.replicate(shape.width)) ^ negative.replicate(shape.width)
        total = total.as_signed() if shape.signed else total
        for number, (value, gate, negative) in enumerate(taken[1:], 1):
            value, gate, negative = (register(m, part, stages=number - 1) for part in (value, gate, negative))
            width = shape.width + number.bit_length()
            total = add_inverted(m, total, value, gate, negative, Shape(width, shape.signed), instances=instances)
            total = register(m, total)
        chains.append(register(m, total, stages=deep - len(taken) + 1))
    return register(m, add_tree(m, chains) + _missing_ones(m, activations, negatives, stages))


def signed_tree_latency(ti: int) -> int:
    """Cycles of `signed_tree` of Ti terms."""
    return 1 + tree_latency(ti) + 1


def signed_tree(m, activations, passes, negatives):
    """`signed_sum` through a tree, after `signed_tree_latency`: for adders that have no gates in front of them, as on iCE40.

    There a gate takes a LUT in any case, with the register behind it; a chain would take registers for terms that wait.
    """
    shape = Value.cast(activations[0]).shape()
    terms = []
    for value, gate, negative in zip(activations, passes, negatives, strict=True):
        bits = (Value.cast(value).as_unsigned() & gate.replicate(shape.width)) ^ negative.replicate(shape.width)
        terms.append(register(m, bits.as_signed() if shape.signed else bits))
    # One register inside is enough: each more would hold bits that wait.
    missing = register(m, _missing_ones(m, activations, negatives, 1), stages=signed_tree_latency(len(terms)) - 2)
    return register(m, add_tree(m, terms) + missing)


def _missing_ones(m, activations, negatives, stages):
    """What a sum of inverted activations lacks, `stages` cycles later."""
    shape, count = Value.cast(activations[0]).shape(), popcount(m, negatives, stages=stages)
    if shape.signed:
        return count
    if len(count) <= shape.width:
        return Cat(widen(count, shape.width), (-count)[: len(count) + 1]).as_signed()
    return count - (count << shape.width)
