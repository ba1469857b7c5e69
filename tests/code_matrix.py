"""The shipped generator in every weight code, whole, through Verilator: free and under random stalls.

    python -m tests.code_matrix --output docs/results/code_matrix.json

One code for all layers, then mixtures, then other lanes of the same codes. Outputs must equal the reference in every bit and cycles
the model's, under the stalls too. About ten minutes; `tests/organza_sim/test_code_matrix.py` runs some of it, and all in
`make test-full`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import organza
from organza.codes import CODES
from organza.codes.spec import parse_arithmetic
from organza.quality import CHECKPOINT, calibration_latents
from organza_sim.api import build, simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import DEFAULT_LANES, plan_program
from organza_sim.rtl import random_stalls

COMMAND = "python -m tests.code_matrix"
IMAGES, LATENT = 2, 64
SPECS = (
    *((code, "") for code in CODES),
    ("linear:4", ""), ("ternary:5", ""), ("affine:2", ""), ("codebook:200", ""), ("sparse:75+ternary", ""), ("huffman+codebook:16", ""),
    ("rle+linear:4", ""), ("tanh:4", ""),
    ("layer1=binary:loa4,layer2=binary:notcarry2:ti16", ""),
    ("layer1=binary:1,layer2=binary:1,layer3=binary:1", ""),
    ("flexpoint:managed", ""), ("layer0=ternary,layer1=flexpoint:managed,layer2=binary,layer3=flexpoint:managed", ""),
    ("layer0=linear:16,layer1=codebook:16,layer2=ternary:5,layer3=binary", ""),
    ("layer0=huffman,layer1=sparse:75,layer2=affine:4,layer3=flexpoint", ""),
    ("linear", "layer0=packed,layer1=packed,layer2=packed,layer3=packed"),
    ("codebook:16", "layer1=bins,layer2=bins"),
    ("linear:4", "layer0=lut,layer1=lut,layer2=packed,layer3=lut"),
)  # fmt: skip


def check(code: str, arithmetic: str = "") -> dict:
    """One code: what was run, and what was wrong."""
    begun = time.monotonic()
    program = organza.lower(CHECKPOINT, calibration_latents(LATENT), code=code)
    lanes = parse_arithmetic(arithmetic, program) if arithmetic else {}
    plan = plan_program(program, DEFAULT_LANES, arithmetic=lanes)
    chip = build(program, plan=plan)
    x = program.quantize(np.random.default_rng(0).normal(size=(IMAGES, *program.input_shape)))
    wanted = program.run(x)
    made = {"code": code, "arithmetic": arithmetic, "images": IMAGES, "wrong": [], "cycles": []}
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
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for row in pool.map(check, *zip(*SPECS, strict=True)):
            print(f"{row['code']} {row['arithmetic']}: {row['wrong'] or 'right'}, {row['seconds']} s", flush=True)
            rows.append(row)
    if options.output:
        temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"command": COMMAND, "rows": rows}, indent=2) + "\n")
        temporary.replace(options.output)
    raise SystemExit(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    main()
