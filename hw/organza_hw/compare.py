"""Comparisons with constants out of LUTs: a short one is over before a carry chain has brought its result back."""

from amaranth import *


def less_than(value, limit: int):
    """Is a value less than a constant?"""
    value = Value.cast(value)
    if value.shape().signed:
        value, limit = Cat(value[:-1], ~value[-1]), limit + (1 << len(value) - 1)
    if not 0 < limit < 1 << len(value):
        return Const(int(limit > 0))
    less = Const(0)
    for bit in range(len(value)):
        less = ~value[bit] | less if limit >> bit & 1 else ~value[bit] & less
    return less
