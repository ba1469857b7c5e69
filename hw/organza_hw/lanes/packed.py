"""Two exact products of a shared activation out of one 18×18 multiplier.

The weights share a port, ``(high << offset) + low``. The product's low part is the low product modulo 2**offset, and what the
low product borrows from the high one must be found:

- weights of at most 4 bits, offset 12: the low product fits 12 bits, its sign bit is the borrow;
- weights within ±127, offset 10 (all that 18 bits leave): the low product's upper six bits d are the upper part of the whole
  product minus the high product, modulo 64, which six-bit factors in LUTs give.

Exact for every activation of at most 8 bits, signed or not; the tests try all of them.
"""

from amaranth import *

from organza_hw.lanes.carry import gated_sum
from organza_hw.lanes.dot import register
from organza_hw.multiply import multiply

NARROW_OFFSET, WIDE_OFFSET, MODULO_BITS = 12, 10, 6


def _multiply(m, activation, low, high, offset, instances):
    port = Signal(signed(18))
    m.d.comb += port.eq((high << offset) + low)
    return multiply(m, activation, port, instances=instances)


def narrow_pair(m, activation, low, high, *, instances):
    """Both products, two cycles later, of weights of at most 4 bits."""
    whole = _multiply(m, activation, low, high, NARROW_OFFSET, instances)
    return whole[:NARROW_OFFSET].as_signed(), whole[NARROW_OFFSET:].as_signed() + whole[NARROW_OFFSET - 1]


def wide_pair(m, activation, low, high, *, instances):
    """Both products, two cycles later, of weights within ±127."""
    whole = _multiply(m, activation, low, high, WIDE_OFFSET, instances)
    modulo = low_product(m, activation, high, MODULO_BITS, instances=instances)
    upper = whole[WIDE_OFFSET:].as_signed()
    borrowed = Signal(signed(MODULO_BITS))
    m.d.comb += borrowed.eq(upper - modulo)
    return Cat(whole[:WIDE_OFFSET], borrowed).as_signed(), (upper - borrowed)[: len(upper)].as_signed()


def low_product(m, a, b, bits, *, instances):
    """The lowest `bits` of a product, two cycles later, out of LUTs: rows of partial products, gated in pairs in front of adders."""
    a, b = (Value.cast(value) for value in (a, b))
    a, b = (Cat(value, value[-1].replicate(bits))[:bits] if value.shape().signed else Cat(value, Const(0, bits))[:bits]
            for value in (a, b))  # fmt: skip
    total = None
    for row in reversed(range(0, bits, 2)):
        width = bits - row
        pair = gated_sum(m, (b[:width], a[row]), (Cat(Const(0, 1), b)[:width], a[row + 1]), width, instances=instances)
        pair = register(m, pair)
        if total is None:
            total = pair
        else:
            m.d.comb += (summed := Signal(width)).eq(pair + (total << 2))
            total = summed
    return register(m, total)
