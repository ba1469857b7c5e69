"""Measures what the project claims about its hardware and writes it down: ``python -m organza_sim.measure``.

Everything is measured in RTL (Verilator) beside what the cycle model says. The result is data for
`docs/results/hardware.json`; `tests/organza_sim/test_results.py` holds its claims against the limits.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from organza.codes import Linear, Sparse
from organza.epilogue import Epilogue
from organza.formats import Fixed, Format
from organza.geometry import Axis
from organza.plan import Plan
from organza.program import Convolve, Program
from organza.program_file import load_program, save_program
from organza_hw.build import build
from organza_sim.api import simulate
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import DEFAULT_LANES, plan_program

COMMAND = "python -m organza_sim.measure"
DCGAN32 = (64, 64, 32, 16, 1)
DCGAN64 = (100, 512, 256, 128, 64, 3)


def transposed(name: str, ci: int, co: int, size: int, first: bool, input: Format, seed: int) -> Convolve:
    """A 4×4 transposed convolution with random int8 weights: 1×1 → 4×4 if `first`, else twice the size (stride 2)."""
    rng = np.random.default_rng(seed)
    up, crop = (1, 0) if first else (2, 1)
    axis = Axis(size=size, kernel=4, up=up, crop_before=crop, crop_after=crop)
    # Sums of about sqrt(taps) * 73 * 100 land in the middle of the output range.
    shift = 14 + int(np.log2(np.sqrt(ci * (16 if first else 4)) * 73))
    epilogue = Epilogue(
        bias=rng.integers(-1000, 1000, co), positive=np.full(co, 1 << 14), negative=np.zeros(co, np.int64),
        shift=np.full(co, shift), low=0, high=255,
    )  # fmt: skip
    weights = rng.integers(-127, 128, (ci, co, 4, 4))
    return Convolve(
        name=name, y=axis, x=axis, groups=1, code=Linear(weights), epilogue=epilogue, input=input,
        output=Fixed(8, False, 1 / 64),
    )  # fmt: skip


def dcgan(widths: tuple[int, ...]) -> Program:
    """A DCGAN generator of these channel counts with random weights."""
    nodes: list[Convolve] = []
    for k, (ci, co) in enumerate(zip(widths, widths[1:], strict=False)):
        size = nodes[-1].y.output if nodes else 1
        input = nodes[-1].output if nodes else Fixed(8, True, 1 / 32)
        nodes.append(transposed(f"layer{k}", ci, co, size, not nodes, input, k))
    return Program(tuple(nodes))


def pruned(program: Program, *, balanced: bool) -> Program:
    """Program of one layer with normally distributed weights, three quarters of which are pruned by magnitude."""
    (node,) = program.nodes
    weights = np.random.default_rng(0).normal(size=node.code.shape)
    code, _ = Sparse.encode(weights, node.groups, np.ones(node.ci), sparsity=75, balanced=balanced)
    return Program((replace(node, code=code),))


def measure(program: Program, lanes: int, images: int) -> dict:
    """Model and RTL of `program` on at most `lanes` lanes, over `images` images."""
    made = measure_plan(program, plan_program(program, lanes), images)
    return {"budget": lanes, **made, "utilization_of_budget": made["utilization"] * made["lanes"] / lanes}


def measure_plan(program: Program, plan: Plan, images: int) -> dict:
    """The same for a Plan."""
    chip = build(program, plan)
    low, high = program.input.low, program.input.high
    x = np.random.default_rng(0).integers(low, high + 1, (images, *program.input_shape))
    run = simulate(chip, x)
    model = simulate_cycles(program, plan, images)
    ends = [end - model.first for end in model.sent]
    return {
        "lanes": plan.lanes,
        "tilings": [[e.Ti, layer.To, layer.P] for e in plan.engines for layer in e.layers],
        "images": images,
        "bit_exact": bool((run.outputs == program.run(x)).all()),
        "image_ends_rtl": run.image_ends.tolist(),
        "cycles_model_minus_rtl": [int(a - b) for a, b in zip(ends, run.image_ends, strict=True)],
        "cycles_first_image": run.latency,
        "interval": run.interval,
        "macs_effectual": program.macs,
        "utilization": run.utilization,
        "simulated_cycles_per_second": round(run.cycles_per_second),
    }


def generation(program: Program, lanes: int) -> dict:
    """Seconds and peak memory of a fresh process that turns a Program file into Verilog and memory images."""
    with tempfile.TemporaryDirectory() as folder:
        save_program(program, Path(folder, "program.safetensors"))
        command = [sys.executable, "-m", "organza_sim.measure", "--generate", folder, "--lanes", str(lanes)]
        start = time.perf_counter()
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return {"seconds": round(time.perf_counter() - start, 2), **json.loads(printed)}


def _generate(folder: Path, lanes: int) -> None:
    program = load_program(folder / "program.safetensors")
    chip = build(program, plan_program(program, lanes))
    for name, text in {"generator.v": chip.verilog(), **chip.files}.items():
        (folder / name).write_text(text)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"peak_gb": round(peak, 3), "weight_and_table_bits": chip.memory_bits}))


def everything() -> dict:
    """All hardware figures."""
    layer = Program((transposed("layer", 64, 32, 8, False, Fixed(8, False, 1 / 64), 0),))
    dcgan64 = dcgan(DCGAN64)
    return {
        "command": COMMAND,
        "machine": f"{platform.system()} {platform.machine()}, 2 cores",
        "dcgan32": measure(dcgan(DCGAN32), DEFAULT_LANES, 40),
        "dcgan64": measure(dcgan64, 128, 4),
        "layer_64_lanes": measure(layer, 64, 3),
        "layer_256_lanes": measure(layer, 256, 1),
        "layer_64_lanes_sparse_balanced": measure(pruned(layer, balanced=True), 64, 3),
        "layer_64_lanes_sparse_unbalanced": measure(pruned(layer, balanced=False), 64, 3),
        "dcgan64_generation": generation(dcgan64, 128),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results/hardware.json"))
    parser.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lanes", type=int, default=DEFAULT_LANES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        _generate(arguments.generate, arguments.lanes)
        return
    result = everything()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
