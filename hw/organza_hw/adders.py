"""Approximate adders in gateware: bit by bit what `organza.adders` computes.

Both kinds are an exact carry chain over other operands. loa: the chain begins one place below the exact bits, for the carry
alone. notcarry: behind every low place comes one that adds 1 + 0; it hands the carry on, and its sum bit is the inverted carry.
So next to an exact adder, loa saves all places below `low` but one and takes a LUT for each low bit, and notcarry takes `low`
places more. Nothing here has a register.
"""

from amaranth import *

from organza.adders import Adder
from organza_hw.lanes.carry import AND_AND, XOR_XOR, carry_sum, widen


def add(m, adder: Adder, a, b):
    """What `adder` makes of two values, both signed or both not, of at least `low` bits; one bit wider than the wider one."""
    shape = Shape(max(len(a), len(b)) + 1, a.shape().signed)
    a, b = (widen(value, shape.width) for value in (a, b))
    first, second = _chain(adder, a, 1), _chain(adder, b, 0)
    total = Signal(len(first))
    m.d.comb += total.eq(first + second)
    return _sum(m, adder, total, a | b, shape)


def add_pair(m, adder: Adder, first, second, *, instances):
    """`add` of two terms (activation, bit) in one chain: the activation if the bit is 1 and else 0, or flipped by the bit.

    Flipped, if `adder.flips`, is a - or -a - 1 for a signed activation, 2**n - 1 - a for an unsigned one of n bits.
    """
    (a, b), (c, d) = first, second
    shape = Shape(len(a) + 1, a.shape().signed)
    over = len(a) if adder.flips and not shape.signed else shape.width
    a, b, c, d = (widen(value, shape.width) for value in (a, b.replicate(over), c, d.replicate(over)))
    kind, joined = (XOR_XOR, (a ^ b) | (c ^ d)) if adder.flips else (AND_AND, (a & b) | (c & d))
    fillers = (1, int(kind == AND_AND), 0, 0)
    operands = [_chain(adder, value, filler) for value, filler in zip((a, b, c, d), fillers, strict=True)]
    total = carry_sum(m, kind, operands, len(operands[0]), instances=instances)
    return _sum(m, adder, total, joined, shape)


def _chain(adder: Adder, bits, filler: int):
    """The operand `bits` of the chain; `filler` is its bit in the places that hand on a carry."""
    if adder.kind == "loa":
        return bits[adder.low - 1 :]
    if adder.kind == "notcarry":
        return Cat(*(Cat(bit, Const(filler, 1)) for bit in bits[: adder.low]), bits[adder.low :])
    return bits


def _sum(m, adder: Adder, total, joined, shape):
    """The sum out of the `total` of the chain and, for loa, the OR of both terms, `joined`."""
    if adder.kind == "loa":
        total = Cat(joined[: adder.low], total[1:])
    elif adder.kind == "notcarry":
        total = Cat(*(total[2 * bit + 1] for bit in range(adder.low)), total[2 * adder.low :])
    made = Signal(shape)
    m.d.comb += made.eq(total)
    return made
