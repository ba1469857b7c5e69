# amaranth: UnusedElaboratable=no
import pytest
from amaranth.hdl import Shape

from organza_hw.table import Table, table_layout
from organza_sim.pysim import trace_cycles


@pytest.mark.parametrize("count", [1, 2, 3, 16, 37])
def test_every_row_in_the_same_cycle(count):
    rows = [{"a": k * k, "flag": k % 2, "list": [k, 0, 3 * k]} for k in range(count)]
    seen = trace_cycles(Table(rows), [{"index": k} for k in range(count)], ["row"])
    for (row,), expected in zip(seen, rows, strict=True):
        assert {"a": row.a, "flag": row.flag, "list": [row.list[k] for k in range(3)]} == expected


def test_fields_are_as_narrow_as_their_values():
    layout = table_layout([{"zero": 0, "one": 1, "list": [0, 4]}, {"zero": 0, "one": 0, "list": [8, 0]}])
    widths = {name: Shape.cast(field.shape).width for name, field in layout}
    assert widths == {"zero": 1, "one": 1, "list": 8}
