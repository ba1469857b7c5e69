"""Dot products of activations with weights of few bits, without multipliers: bit planes and ones' complements.

A bit plane is Σ a·b over bits b: activations gated in pairs on their way into the first adders, which cost nothing but the
adders (`organza_hw.lanes.carry`). Costs: docs/results/lanes.json.
"""

from amaranth import *

from organza_hw.lanes.carry import add_inverted, gated_sum, popcount, widen
from organza_hw.lanes.dot import LEVELS_PER_STAGE, add_tree, register


def plane(m, activations, gates, *, instances):
    """Σ of the activations whose gate is 1; the latency of `DotLanes`."""
    shape = Value.cast(activations[0]).shape()
    pairs = []
    for k in range(0, len(activations) - 1, 2):
        first, second = ((activations[k + n], gates[k + n]) for n in range(2))
        pairs.append(gated_sum(m, first, second, Shape(shape.width + 1, shape.signed), instances=instances))
    if len(activations) % 2:
        pairs.append(Mux(gates[-1], activations[-1], 0))
    if len(activations) <= 2:
        return register(m, pairs[0])
    return add_tree(m, [register(m, pair) for pair in pairs], level=1)


def signed_sum(m, activations, passes, negatives, *, instances):
    """Σ of the activations that pass, subtracted where negative; one cycle more than `DotLanes`.

    -a is ~a + 1. The ones that are missing (for unsigned n-bit activations, whose ~a is a + 1 too small and 2**n too
    large, 1 - 2**n each) depend on the weights alone: their number is counted once and added behind the tree. A
    chain of four terms costs less than a tree, whose adders each need one operand gated in front.
    """
    shape = Value.cast(activations[0]).shape()
    chains = []
    for k in range(0, len(activations), 4):
        taken = [(a, p, n) for a, p, n in zip(activations[k : k + 4], passes[k : k + 4], negatives[k : k + 4], strict=True)]
        value, gate, negative = taken[0]
        bits = Value.cast(value).as_unsigned()
        total = (bits & gate.replicate(shape.width)) ^ negative.replicate(shape.width)
        total = total.as_signed() if shape.signed else total
        for number, (value, gate, negative) in enumerate(taken[1:], 1):
            if number == LEVELS_PER_STAGE:
                total = register(m, total)
            if number >= LEVELS_PER_STAGE:
                value, gate, negative = (register(m, part) for part in (value, gate, negative))
            width = shape.width + number.bit_length()
            total = add_inverted(m, total, value, gate, negative, Shape(width, shape.signed), instances=instances)
        if len(taken) <= LEVELS_PER_STAGE and len(activations) > LEVELS_PER_STAGE:
            total = register(m, total)
        chains.append(register(m, total))
    total = add_tree(m, chains, level=LEVELS_PER_STAGE)
    count = popcount(m, negatives)
    stages = 1 + (len(activations) - 1).bit_length() // LEVELS_PER_STAGE
    for _ in range(stages):
        count = register(m, count)
    if shape.signed:
        missing = count
    elif len(count) <= shape.width:
        missing = Cat(widen(count, shape.width), (-count)[: len(count) + 1]).as_signed()
    else:
        missing = count - (count << shape.width)
    return register(m, total + missing)
