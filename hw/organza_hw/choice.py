"""What differs by layer in an engine that layers share."""

from collections.abc import Sequence

from amaranth import *


def chosen(m, layer, values: dict):
    """What stands in `values` for a number of a layer; anything for one that does not. Layers with the same cost nothing."""
    distinct: list = []
    for value in values.values():
        if not any(value is other for other in distinct):
            distinct.append(value)
    if len(distinct) == 1:
        return distinct[0]
    made = Signal.like(distinct[0])
    with m.Switch(layer):
        for k, value in enumerate(distinct):
            numbers = [number for number, other in values.items() if other is value]
            with m.Default() if k == len(distinct) - 1 else m.Case(*numbers):
                m.d.comb += made.eq(value)
    return made


def by_layer(layer, values: Sequence[int]):
    """The number of a layer among `values`."""
    return values[0] if len(set(values)) == 1 else Array(values)[layer]
