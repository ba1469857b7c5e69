"""Three transposed convolutions for every weight code, kind of lanes, order and memory, through the RTL.

    python -m tests.code_layers --jobs 2 --output docs/results/code_layers.json

Kernels 3 and 5 with stride 2 have unbalanced phases, the third layer has two groups, strides that differ and output padding. Lanes,
beats and rings are drawn. Outputs must equal the reference in every bit and cycles the model's, free and under a pair of stall
patterns. It takes some minutes; `--only sparse` runs the rows that have the word. `tests/organza_sim/test_code_layers.py` runs some
rows, and all in `make test-full`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from organza.adders import Adder
from organza.codes import Binary, Code, Huffman, Linear, RunLength, Sparse, Ternary, serial, sparse
from organza.epilogue import Epilogue
from organza.formats import Fixed, Format, Sign
from organza.geometry import Axis
from organza.plan import JointPlan, Plan
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza_sim.cycles import simulate_cycles
from organza_sim.pysim import simulate_pipeline
from organza_sim.rtl import RtlError
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.plans import ORDERS, plan_of, random_plan
from tests.strategies import random_code, random_epilogue, random_input, random_managed

COMMAND = "python -m tests.code_layers"
IMAGES, MOST_LANES = 2, 12
NUMBERS, SIGNS, MANAGED = Fixed(8, False, 1 / 32), Sign(0.5), "flexpoint:managed"
# (ci, co of a group, groups), then y and x: size, kernel, stride, crops before and after.
LAYERS = (
    ((5, 3, 1), (4, 3, 2, 1, 0), (3, 3, 2, 1, 0)),
    ((4, 4, 1), (3, 5, 2, 2, 1), (4, 5, 2, 2, 1)),
    ((4, 3, 2), (3, 4, 3, 2, 0), (4, 2, 1, 0, 1)),
)
PLAIN = ("linear", "linear:4", "affine", "power", "ternary", "ternary:5", "binary", "binary:1", "binary:loa", "binary:notcarry",
         "flexpoint", "codebook", "hashed", "multihash", "blockhash")  # fmt: skip
CODES = (
    *PLAIN,
    *(f"sparse+{kind}" for kind in sparse.INNER),
    *(f"{outer}+{kind}" for outer in ("huffman", "rle") for kind in serial.INNER),
)


def draw(rng: np.random.Generator, name: str, shape: tuple[int, ...], groups: int) -> Code:
    """Random weights in the code `name`, one of `CODES`."""
    outer, _, inner = name.partition("+")
    if inner:
        held = random_code(rng, shape, inner, 8 if inner == "linear" else None, inside=True)
        if outer == "huffman":
            return Huffman(held)
        if outer == "rle":
            return RunLength(held, int(rng.integers(1, 6)))
        block, index = int(rng.integers(2, 17)), str(rng.choice(["bitmap", "relative"]))
        return Sparse(held, rng.random(shape) < 0.4, block, index)
    kind, _, option = name.partition(":")
    if option in ("loa", "notcarry"):
        return Binary(rng.choice([-1, 1], shape), Adder(option, int(rng.integers(1, 6))), 2)
    if name == "linear:4":  # the lanes without multipliers too
        return Linear(rng.integers(-7, 8, shape), 4)
    if kind == "ternary":
        return Ternary(rng.integers(-1, 2, shape), int(option or 4))
    return random_code(rng, shape, kind, 8 if kind == "linear" else None, groups=groups)


def layer(rng: np.random.Generator, name: str, number: int) -> tuple[Convolve, ...]:
    """One of `LAYERS` in a code; what reads signs has a layer before it that makes them."""
    (ci, cog, groups), *shape = LAYERS[number]
    y, x = (Axis(size=n, kernel=k, up=up, crop_before=a, crop_after=b) for n, k, up, a, b in shape)
    input: Format = SIGNS if name == "binary:1" else NUMBERS
    code = draw(rng, name, (ci, cog, y.kernel, x.kernel), groups)
    output = Fixed(8, True, 1 / 32)
    node = Convolve(
        name="layer", y=y, x=x, groups=groups, code=code, input=input, output=output,
        epilogue=random_epilogue(rng, _bound(code, groups) * input.magnitude, output, kind="leaky"),
    )  # fmt: skip
    if input is NUMBERS:
        return (node,)
    weights = Linear(rng.integers(-127, 128, (3, ci, 1, 1)))
    before = Convolve(
        name="signs", y=Axis(size=y.size, kernel=1), x=Axis(size=x.size, kernel=1), groups=1, code=weights, input=NUMBERS, output=SIGNS,
        epilogue=Epilogue.sign(rng.integers(-9999, 10000, ci)),
    )  # fmt: skip
    return before, node


def _bound(code: Code, groups: int) -> np.ndarray:
    ci, cog, *_ = code.shape
    return np.abs(code.integers()).reshape(groups, ci // groups, cog, -1).sum((1, 3)).reshape(-1)


@cache
def rows() -> tuple[tuple[str, str, str, str], ...]:
    """Code, lanes, order and memory of every row."""
    made = []
    for name in CODES:
        node = layer(np.random.default_rng(0), name, 0)[-1]
        for lanes in node.code.lanes_for(node.input):
            for order in node.code.orders(lanes):
                made += [(name, lanes, order, memory) for memory in node.code.memories(order)]
    return (*made, *((MANAGED, "plain", order, "rom") for order in ORDERS))


def program_of(rng: np.random.Generator, row: tuple[str, str, str, str], number: int) -> tuple[Program, Plan]:
    """Layer `number` of a row on some lanes; of managed exponents, a chain of two layers that draws more than its order."""
    name, lanes, order, memory = row
    if name == MANAGED:
        program = random_managed(rng, 2, max_macs=300, max_positions=20)
        return program, random_plan(rng, program, orders=(order,), max_lanes=MOST_LANES)
    program = Program(layer(rng, name, number))
    *before, node = program.nodes
    last = _schedule(rng, node, lanes, order, memory)
    schedules = [*(Schedule(node=one, ti=1, to=1) for one in before), last]
    joints, least = [], 1
    for schedule in schedules:
        n = int(rng.integers(min(least, schedule.node.ci), schedule.node.ci + 1))
        joints.append(JointPlan(n=n, depth=schedule.least_depth + int(rng.integers(0, 3))))
        least = schedule.e
    joints.append(JointPlan(n=int(rng.integers(least, node.co + 1)), depth=0))
    return program, plan_of(program, schedules, joints)


def _schedule(rng: np.random.Generator, node: Convolve, lanes: str, order: str, memory: str) -> Schedule:
    code, channels = node.code, node.ci // node.groups
    least = 5  # few lanes take long; a code may be for fewer
    while True:
        ti = code.lane_shape[0] or int(rng.integers(1, code.most_ti(lanes, channels) + 1))
        to = code.lane_shape[1] or int(rng.integers(1, node.co // node.groups + 1))
        p = int(rng.integers(1, 4))
        least -= 0.2
        if least <= ti * to * p <= MOST_LANES:
            how = {"arithmetic": lanes, "order": order, "memory": memory}
            return Schedule(node=node, ti=ti, to=to, p=p, e=int(rng.integers(1, to + 1)), **how)


def check(row: tuple[str, str, str, str]) -> dict:
    """One row: what was run, and what was wrong."""
    begun, (name, lanes, order, memory) = time.monotonic(), row
    made = {"code": name, "arithmetic": lanes, "order": order, "memory": memory, "layers": len(LAYERS), "runs": 0, "cycles": 0, "wrong": []}
    seed = zlib.crc32(" ".join(row).encode())
    for number in range(len(LAYERS)):
        rng = np.random.default_rng([seed, number])
        program, plan = program_of(rng, row, number)
        x = random_input(rng, program, IMAGES)
        wanted = program.run(x) if name != MANAGED else program.run(x, program.start)[0]
        for idle, pressure in (("never", "never"), CROSSED[(seed + number) % len(CROSSED)]):
            stalls = {"stall_in": PATTERNS[idle], "stall_out": PATTERNS[pressure]}
            where = f"layer {number}, source pauses {idle!r}, sink pauses {pressure!r}"
            try:
                outputs, run = simulate_pipeline(program, plan, x, **stalls)
            except RtlError as error:
                made["wrong"].append(f"{where}: {error}")
                continue
            model = simulate_cycles(program, plan, IMAGES, **stalls)
            if not np.array_equal(outputs, wanted):
                made["wrong"].append(f"{where}: outputs differ from the reference")
            if [model.first, *model.sent] != [run.in_cycles[0], *run.image_ends]:
                made["wrong"].append(f"{where}: {run.image_ends.tolist()} cycles instead of {model.sent}")
            made["runs"] += 1
            made["cycles"] += run.simulated
    made["seconds"] = round(time.monotonic() - begun, 1)
    return made


def run(chosen: Iterable[tuple[str, str, str, str]], jobs: int) -> dict:
    """All rows and a line for each while they come."""
    found = []
    with ProcessPoolExecutor(jobs) as pool:
        for row in pool.map(check, chosen):
            what = " ".join(row[key] for key in ("code", "arithmetic", "order", "memory"))
            print(f"{what}: {row['wrong'] or 'right'}, {row['seconds']} s", flush=True)
            found.append(row)
    return {"command": COMMAND, "images": IMAGES, "rows": found}


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="only rows that have this word, e.g. sparse or stream")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    result = run([row for row in rows() if options.only in " ".join(row)], options.jobs)
    if options.output:
        temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(result, indent=2) + "\n")
        temporary.replace(options.output)
    raise SystemExit(any(row["wrong"] for row in result["rows"]))


if __name__ == "__main__":
    main()
