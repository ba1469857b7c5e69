"""Comparisons out of LUTs: a short one is over before a carry chain has brought its result back."""

from amaranth import *


def less_than(value, limit: int):
    """Is a value less than a constant?"""
    shape = Value.cast(value).shape()
    least = -(1 << shape.width - 1) if shape.signed else 0
    if not least < limit < least + (1 << shape.width):
        return Const(int(limit > least))
    return less(value, Const(limit, shape))


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
