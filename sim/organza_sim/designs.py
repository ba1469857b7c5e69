"""Whole accelerators that are worth a line of their own, in RTL beside the cycle model: ``python -m organza_sim.designs``.

Streaming pipelines and time-shared engines for the generator of 64×64 pictures (DCGAN, 64 filters) and for the shape of the shipped
one, with random weights. The result is data for `docs/results/designs.json`, which is extended design by design;
`tests/organza_sim/test_designs.py` plans them again and holds their claims.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from organza.codes import Ternary
from organza.plan import Plan
from organza.program import Program
from organza.program_file import save_program
from organza.time_sharing import PIPELINES
from organza_sim.measure import DCGAN32, DCGAN64, dcgan, measure_plan
from organza_sim.planner import plan_program
from organza_sim.sharing import Share
from organza_sim.yowasp import write_record

COMMAND = "python -m organza_sim.designs"
DCGAN64_NARROW = (100, 256, 128, 64, 32, 3)
OUTPUT = Path("docs/results/designs.json")


@dataclass(frozen=True)
class Design:
    """program : what runs. lanes : budget. share : Ti and C of one engine for all layers, with `most` and
    `pipeline` as of a `Share`; None for an engine a layer. arithmetic : of all
    layers. outside : of that many layers, the first ones, weights are beside the chip; they run in weight order. images : to simulate. about : what it stands for."""

    about: str
    program: Callable[[], Program]
    lanes: int
    share: tuple[int, int] | None = None
    arithmetic: str = ""
    images: int = 3
    most: tuple[int, int] | None = None
    pipeline: str = PIPELINES[0]
    outside: int = 0

    def plan(self, program: Program) -> Plan:
        """The Plan."""
        count = len(program.nodes)
        shares = () if self.share is None else (Share(0, count, *self.share, most=self.most, pipeline=self.pipeline),)
        kinds = {node.name: self.arithmetic for node in program.nodes} if self.arithmetic else None
        names = [node.name for node in program.nodes[: self.outside]]
        orders, memories = dict.fromkeys(names, "weight"), dict.fromkeys(names, "external")
        return plan_program(program, self.lanes, shares=shares, arithmetic=kinds, orders=orders, memories=memories)


def dcgan64() -> Program:
    """100 latents to 3×64×64, 3.6 million weights of 8 bits."""
    return dcgan(DCGAN64)


def shipped_shape() -> Program:
    """Channels and sizes of the shipped generator."""
    return dcgan(DCGAN32)


def ternary(program: Program, per_byte: int = 5) -> Program:
    """The same layers with ternary weights, five in a byte or four."""
    nodes = []
    for number, node in enumerate(program.nodes):
        weights = np.random.default_rng(number).integers(-1, 2, node.code.shape)
        # Sums are smaller: about the root of two thirds of the taps times 100.
        shift = node.epilogue.shift - 6
        nodes.append(replace(node, code=Ternary(weights, per_byte=per_byte), epilogue=replace(node.epilogue, shift=shift)))
    return Program(tuple(nodes))


def ternary_shape() -> Program:
    """The shipped generator's with ternary weights."""
    return ternary(dcgan(DCGAN32))


def two_bits_shape() -> Program:
    """The same with two bits a weight."""
    return ternary(dcgan(DCGAN32), per_byte=4)


def ternary_dcgan64() -> Program:
    """100 latents to 3×64×64 with 32 filters, 1.1 million ternary weights, which are all on an ECP5-85."""
    return ternary(dcgan(DCGAN64_NARROW))


DESIGNS = {
    "dcgan64 on 86 lanes": Design("streaming", dcgan64, 86, images=2),
    "dcgan64 on 128 lanes": Design("streaming", dcgan64, 128, images=2),
    "dcgan64 on 156 lanes": Design("streaming", dcgan64, 156, images=2),
    "dcgan64 on 1024 lanes": Design("streaming", dcgan64, 1024, images=2),
    "dcgan64 shares 8×16": Design("time sharing", dcgan64, 128, (8, 16), images=2),
    "dcgan64 shares 8×16, weights outside": Design("time sharing, each weight once an image", dcgan64, 128, (8, 16), images=2, outside=5),
    "dcgan64 shares 12×13": Design("time sharing on as many products as an ECP5-85 has multipliers", dcgan64, 156, (12, 13), images=2),
    "dcgan64 shares 26×6": Design("time sharing on as many products as an ECP5-85 has multipliers", dcgan64, 156, (26, 6), images=2),
    "dcgan64 shares 26×12 packed": Design("time sharing, two products a multiplier", dcgan64, 312, (26, 12), "packed", images=2),
    "dcgan64 on 156 lanes, three layers outside": Design("streaming, the rest of the weights in an ECP5-85", dcgan64, 156, images=2, outside=3),
    "shipped shape on 133 lanes": Design("streaming", shipped_shape, 133),
    "shipped shape shares 8×16": Design("time sharing", shipped_shape, 128, (8, 16)),
    "ternary dcgan64 of 32 filters on 1050 lanes": Design("streaming, all weights in an ECP5-85", ternary_dcgan64, 1050, images=2),
    "ternary shipped shape shares 5×8": Design("time sharing, five trits a byte", ternary_shape, 40, (5, 8)),
    "ternary shipped shape shares 16×4": Design(
        "time sharing in a short pipeline, for an iCE40 UP5K", two_bits_shape, 64, (16, 4), most=(2, 2), pipeline="short"
    ),
}


def measured(design: Design) -> dict:
    """Model and RTL of a design."""
    program = design.program()
    made = measure_plan(program, design.plan(program), design.images)
    return {"about": design.about, "budget": design.lanes, **made, "utilization_of_budget": made["utilization"] * made["lanes"] / design.lanes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("designs", nargs="*", help="names; by default those that are not in the file")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--program", type=Path, help="only write the Program of a single design to this file, for organza build")
    options = parser.parse_args()
    unknown = set(options.designs) - set(DESIGNS)
    if unknown:
        parser.error(f"designs are {', '.join(DESIGNS)}, not {', '.join(sorted(unknown))}")
    if options.program:
        if len(options.designs) != 1:
            parser.error("--program goes with a single design")
        save_program(DESIGNS[options.designs[0]].program(), options.program)
        return
    found = json.loads(options.output.read_text())["designs"] if options.output.exists() else {}
    for name in options.designs or [name for name in DESIGNS if name not in found]:
        found[name] = measured(DESIGNS[name])
        data = {"command": COMMAND, "designs": {name: found[name] for name in DESIGNS if name in found}}
        write_record(options.output, data)
        row = found[name]
        print(f"{name}: {row['interval']:,} cycles an image, {row['utilization_of_budget']:.1%}, exact: {row['bit_exact']}", flush=True)


if __name__ == "__main__":
    main()
