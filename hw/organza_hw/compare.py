"""Comparisons out of LUTs: a short one is over before a carry chain has brought its result back."""

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


def less(a, b):
    """Is a less than b? Both of the same shape."""
    a, b = Value.cast(a), Value.cast(b)
    assert a.shape() == b.shape(), f"{a.shape()} and {b.shape()}"
    if a.shape().signed:
        a, b = Cat(a[:-1], b[-1]), Cat(b[:-1], a[-1])
    less = Const(0)
    for x, y in zip(a, b, strict=True):
        less = Mux(x ^ y, y, less)
    return less
