"""Several hundred random layers and pipelines through the RTL, with every pair of stall patterns.

    python -m tests.matrix --jobs 2 --output docs/results/matrix.json
    python -m tests.matrix --orders --jobs 2 --output docs/results/matrix_orders.json

The first has layers and pipelines of every geometry in row order. The second has layers in weight order, and pipelines of any codes
in both orders, half of them with run-length coded joints. Each case runs three times: free, and under two pairs of patterns. Outputs
must equal the reference in every bit, and the cycles of all images the model's. It takes a quarter of an hour each; `--layers 3
--pipelines 2` takes seconds. `tests/organza_sim/test_matrix.py` runs them too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from organza_sim.cycles import simulate_cycles
from organza_sim.pysim import simulate_pipeline
from organza_sim.rtl import RtlError
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.organza_sim.layer_cases import Case, case, features
from tests.plans import ORDERS

COMMAND, FIRST = "python -m tests.matrix", 1000
# Cases of every kind: what `matrix.json` holds, and what `matrix_orders.json` does.
ROWS, BOTH = {"layer": 300, "pipeline": 80}, {"weight layer": 100, "mixed pipeline": 40}


def drawn(kind: str, number: int) -> Case:
    """Case `number` of a kind."""
    if kind == "layer":
        return case(FIRST + number, max_cycles=4000)
    if kind == "weight layer":
        return case(FIRST + number, max_cycles=4000, orders=("weight",))
    if kind == "pipeline":
        return case(FIRST + number, layers=2 + number % 3, max_cycles=3000)
    chosen = case(FIRST + number, layers=2 + number % 3, max_cycles=3000, code=None, orders=ORDERS)
    if number % 2:
        return chosen
    first, *inner, last = chosen.plan.joints
    coded = (first, *(replace(joint, coding="rle") for joint in inner), last)
    return Case(chosen.program, replace(chosen.plan, joints=coded), chosen.x)


def check(kind: str, number: int) -> dict:
    """Run a case three times; what was done, and what was wrong."""
    chosen = drawn(kind, number)
    wanted = chosen.program.run(chosen.x)
    pairs = [("never", "never"), *(CROSSED[(2 * number + k) % len(CROSSED)] for k in range(2))]
    made = {"kind": kind, "runs": 0, "images": 0, "beats": 0, "cycles": 0, "wrong": [], "pairs": pairs,
            "features": sorted(features(chosen)), "codes": sorted({node.code.kind for node in chosen.program.nodes}),
            "coded": any(joint.coding != "plain" for joint in chosen.plan.joints)}  # fmt: skip
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


def run(layers: int | None = None, pipelines: int | None = None, jobs: int = 1, *, orders: bool = False) -> dict:
    """One of the two matrices: counts, what it covered, and a line for everything that was wrong; None for all cases."""
    begun = time.monotonic()
    (layer, most), (pipeline, more) = (BOTH if orders else ROWS).items()
    layers, pipelines = most if layers is None else layers, more if pipelines is None else pipelines
    work = [(layer, number) for number in range(layers)] + [(pipeline, number) for number in range(pipelines)]
    with ProcessPoolExecutor(jobs) as pool:
        done = list(pool.map(check, *zip(*work, strict=True)))
    covered: Counter[str] = Counter()
    for result in done:
        covered.update(result["features"])
    extra = {} if not orders else {
        "codes": dict(sorted(Counter(code for result in done for code in result["codes"]).items())),
        "coded_joints": sum(result["coded"] for result in done),
    }  # fmt: skip
    return {
        "command": COMMAND + " --orders" * orders,
        "layers": layers,
        "pipelines": pipelines,
        "stall_pairs": len({tuple(pair) for result in done for pair in result["pairs"]}),
        **{key: sum(result[key] for result in done) for key in ("runs", "images", "beats", "cycles")},
        "wrong": [line for result in done for line in result["wrong"]],
        **extra,
        "covered": dict(sorted(covered.items())),
        "seconds": round(time.monotonic() - begun),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, help="fewer layers than all")
    parser.add_argument("--pipelines", type=int, help="fewer pipelines than all")
    parser.add_argument("--orders", action="store_true", help="weight order, and both orders in one pipeline")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    result = run(options.layers, options.pipelines, options.jobs, orders=options.orders)
    text = json.dumps(result, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    print(text)
    raise SystemExit(1 if result["wrong"] else 0)


if __name__ == "__main__":
    main()
