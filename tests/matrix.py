"""Several hundred random layers and pipelines through the RTL, with every pair of stall patterns.

    python -m tests.matrix --jobs 2 --output docs/results/matrix.json

Each case runs three times: free, and under two pairs of patterns. Outputs must equal the reference in every bit, and the
cycles of all images the model's. It takes a quarter of an hour; `tests/organza_sim/test_matrix.py` runs it too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from organza_sim.cycles import simulate_cycles
from organza_sim.pysim import simulate_pipeline
from organza_sim.rtl import RtlError
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.organza_sim.layer_cases import case, features

COMMAND = "python -m tests.matrix"
LAYERS, PIPELINES, FIRST = 300, 80, 1000


def check(kind: str, number: int) -> dict:
    """Run case `number`, a "layer" or a "pipeline", three times; what was done, and what was wrong."""
    if kind == "layer":
        chosen = case(FIRST + number, max_cycles=4000)
    else:
        chosen = case(FIRST + number, layers=2 + number % 3, max_cycles=3000)
    wanted = chosen.program.run(chosen.x)
    pairs = [("never", "never"), *(CROSSED[(2 * number + k) % len(CROSSED)] for k in range(2))]
    made = {"kind": kind, "runs": 0, "images": 0, "beats": 0, "cycles": 0, "wrong": [], "pairs": pairs,
            "features": sorted(features(chosen))}  # fmt: skip
    for idle, pressure in pairs:
        stalls = {"stall_in": PATTERNS[idle], "stall_out": PATTERNS[pressure]}
        name = f"{kind} {number}, source pauses {idle!r}, sink pauses {pressure!r}"
        try:
            outputs, run = simulate_pipeline(chosen.program, chosen.plan, chosen.x, **stalls)
        except RtlError as error:
            made["wrong"].append(f"{name}: {error}")
            continue
        model = simulate_cycles(chosen.program, chosen.plan, len(chosen.x), **stalls)
        if not np.array_equal(outputs, wanted):
            made["wrong"].append(f"{name}: outputs differ from the reference")
        if [model.first, *model.sent] != [run.in_cycles[0], *run.image_ends]:
            made["wrong"].append(f"{name}: {run.image_ends.tolist()} cycles instead of {model.sent}")
        made["runs"] += 1
        made["images"] += len(chosen.x)
        made["beats"] += len(run.outputs)
        made["cycles"] += run.simulated
    return made


def run(layers: int = LAYERS, pipelines: int = PIPELINES, jobs: int = 1) -> dict:
    """The whole matrix: counts, what it covered, and a line for everything that was wrong."""
    begun = time.monotonic()
    work = [("layer", number) for number in range(layers)] + [("pipeline", number) for number in range(pipelines)]
    with ProcessPoolExecutor(jobs) as pool:
        done = list(pool.map(check, *zip(*work, strict=True)))
    covered: Counter[str] = Counter()
    for result in done:
        covered.update(result["features"])
    return {
        "command": COMMAND,
        "layers": layers,
        "pipelines": pipelines,
        "stall_pairs": len({tuple(pair) for result in done for pair in result["pairs"]}),
        **{key: sum(result[key] for result in done) for key in ("runs", "images", "beats", "cycles")},
        "wrong": [line for result in done for line in result["wrong"]],
        "covered": dict(sorted(covered.items())),
        "seconds": round(time.monotonic() - begun),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--pipelines", type=int, default=PIPELINES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    result = run(options.layers, options.pipelines, options.jobs)
    text = json.dumps(result, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    print(text)
    raise SystemExit(1 if result["wrong"] else 0)


if __name__ == "__main__":
    main()
