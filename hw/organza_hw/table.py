"""Small constant tables, read without delay."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out


def table_layout(rows):
    """Narrowest struct for `rows`: dictionaries with the same keys, values integers ≥ 0 or equally long lists of them."""
    fields = {}
    for key, first in rows[0].items():
        if isinstance(first, list):
            most = max(max(row[key]) for row in rows)
            fields[key] = data.ArrayLayout(max(1, int(most).bit_length()), len(first))
        else:
            fields[key] = max(1, max(int(row[key]) for row in rows).bit_length())
    return data.StructLayout(fields)


class Table(wiring.Component):
    """Read-only table in logic. `row` follows `index` combinationally.

    Parameters
    ----------
    rows : dictionaries as `table_layout` takes them.
    """

    index: Signal
    row: data.View

    def __init__(self, rows):
        self.rows = rows
        self.layout = table_layout(rows)
        super().__init__({"index": In(range(max(len(rows), 2))), "row": Out(self.layout)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = memory.Memory(shape=self.layout, depth=len(self.rows), init=self.rows)
        port = rows.read_port(domain="comb")
        m.d.comb += [port.addr.eq(self.index), self.row.eq(port.data)]
        return m
