"""The shipped generator in every weight code, whole, through Verilator: free and under random stalls.

    python -m tests.code_matrix --output docs/results/code_matrix.json

One code for all layers, then mixtures, other lanes of the same codes, the other order, streams, coded joints. Outputs must equal the
reference in every bit and cycles the model's, under the stalls too. It takes half an hour: `--only huffman` runs the rows that have the
word, `--missing` those that the record does not have yet. `tests/organza_sim/test_code_matrix.py` runs some of it, and all in
`make test-full`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import organza
from organza.codes import CODES
from organza.codes.spec import parse_arithmetic
from organza.layer_options import parse_memories, parse_orders
from organza.quality import CHECKPOINT, calibration_latents
from organza_sim.api import build, simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import DEFAULT_LANES, plan_program
from organza_sim.rtl import random_stalls
from tests.quick import build_quickly

COMMAND = "python -m tests.code_matrix"
IMAGES, LATENT = 2, 64


class Spec(NamedTuple):
    """One row, in the words of `organza build`."""

    code: str
    arithmetic: str = ""
    order: str = ""
    memory: str = ""
    joint_coding: str = "plain"

    @property
    def name(self) -> str:
        """What is not as usual."""
        return " ".join(word for word in self if word not in ("", "plain"))


WEIGHT, STREAMS = "rest=weight", "rest=stream"
SPECS = tuple(Spec(*row) for row in (
    *((code,) for code in CODES),
    ("linear:4",), ("ternary:5",), ("affine:2",), ("codebook:200",), ("sparse:75+ternary",), ("huffman+codebook:16",),
    ("rle+linear:4",), ("tanh:4",),
    ("layer1=binary:loa4,layer2=binary:notcarry2:ti16",),
    ("layer1=binary:1,layer2=binary:1,layer3=binary:1",),
    ("flexpoint:managed",), ("layer0=ternary,layer1=flexpoint:managed,layer2=binary,layer3=flexpoint:managed",),
    ("layer0=linear:16,layer1=codebook:16,layer2=ternary:5,layer3=binary",),
    ("layer0=huffman,layer1=sparse:75,layer2=affine:4,layer3=flexpoint",),
    ("linear", "layer0=packed,layer1=packed,layer2=packed,layer3=packed"),
    ("codebook:16", "layer1=bins,layer2=bins"),
    ("linear:4", "layer0=lut,layer1=lut,layer2=packed,layer3=lut"),
    # Inside of the codes that are around another one.
    ("sparse:75:unbalanced",), ("sparse:75+power",), ("sparse:75+binary",), ("sparse:75+codebook:16",), ("sparse:75:8:relative+linear:4",),
    ("huffman+affine",), ("huffman+power",), ("huffman+ternary",), ("huffman+binary",),
    ("rle+affine",), ("rle+power",), ("rle+ternary",), ("rle+binary",), ("rle+codebook:16",),
    # The other order; serial codes as streams, and expanded; both orders in one pipeline.
    *((code, "", WEIGHT) for code in ("linear", "affine", "power", "ternary", "binary", "codebook:16", "sparse", "blockhash",
                                      "flexpoint", "flexpoint:managed")),
    *((code, "", WEIGHT, STREAMS) for code in ("huffman", "rle", "hashed", "multihash")),
    ("huffman+codebook:16", "", WEIGHT, "rest=expand"),
    ("layer0=huffman,layer1=sparse:75,layer2=hashed,layer3=ternary", "", "layer0=weight,layer2=weight", "layer0=stream,layer2=expand"),
    # Run-length coded joints.
    ("linear", "", "", "", "rle"), ("layer1=binary:1,layer2=sparse:75", "", "layer3=weight", "", "rle"),
))  # fmt: skip


def check(spec: Spec) -> dict:
    """One row: what was run, and what was wrong."""
    begun = time.monotonic()
    program = organza.lower(CHECKPOINT, calibration_latents(LATENT), code=spec.code)
    lanes = parse_arithmetic(spec.arithmetic, program) if spec.arithmetic else {}
    orders = parse_orders(spec.order, program, lanes) if spec.order else {}
    memories = parse_memories(spec.memory, program, orders) if spec.memory else {}
    plan = plan_program(
        program, DEFAULT_LANES, arithmetic=lanes, orders=orders, memories=memories, coding=spec.joint_coding
    )
    chip = build(program, plan=plan)
    x = program.quantize(np.random.default_rng(0).normal(size=(IMAGES, *program.input_shape)))
    wanted = program.run(x)
    made = {**spec._asdict(), "images": IMAGES, "wrong": [], "cycles": []}
    for stalls in (None, (random_stalls(0.3, 1), random_stalls(0.3, 2))):
        run = simulate(chip, x, stalls=stalls)
        traces = {} if stalls is None else dict(zip(("stall_in", "stall_out"), stalls, strict=True))
        model = simulate_cycles(program, plan, IMAGES, **traces)
        ends = [end - model.first for end in model.sent]
        how = "free" if stalls is None else "stalled"
        if not np.array_equal(run.outputs, wanted):
            made["wrong"].append(f"{how}: outputs differ from the reference")
        if ends != run.image_ends.tolist():
            made["wrong"].append(f"{how}: {run.image_ends.tolist()} cycles instead of {ends}")
        made["cycles"].append(run.image_ends.tolist())
    made["stored_bits"] = sum(node.code.stored_bits for node in program.nodes)
    made["seconds"] = round(time.monotonic() - begun)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="only rows that have this word, e.g. huffman or weight")
    parser.add_argument("--missing", action="store_true", help="only rows that are not in the output file; it keeps the others")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    build_quickly()
    if options.missing and not options.output:
        parser.error("--missing needs --output")
    kept = json.loads(options.output.read_text())["rows"] if options.missing and options.output.exists() else []
    rows = {spec: row for row in kept if (spec := spec_of(row)) in SPECS}
    chosen = [spec for spec in SPECS if options.only in spec.name and spec not in rows]
    with ProcessPoolExecutor(options.jobs) as pool:
        for spec, row in zip(chosen, pool.map(check, chosen), strict=True):
            print(f"{spec.name}: {row['wrong'] or 'right'}, {row['seconds']} s", flush=True)
            rows[spec] = row
            if options.output:
                _write(options.output, [rows[spec] for spec in SPECS if spec in rows])
    raise SystemExit(any(row["wrong"] for row in rows.values()))


def spec_of(row: dict) -> Spec:
    """What a recorded row is about."""
    return Spec(**{name: row[name] for name in Spec._fields if name in row})


def _write(path: Path, rows: list[dict]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"command": COMMAND, "rows": rows}, indent=2) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    main()
