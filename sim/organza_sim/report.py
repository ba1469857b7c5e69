"""The numbers of a build as one dictionary: `report.json`, whose keys are stable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from organza.brightness import unit_range
from organza.formats import Managed
from organza.plan import EnginePlan, Plan, schedules_of
from organza.program import Convolve, Program
from organza.run_length import coded_bits
from organza_sim.api import Simulation
from organza_sim.beats import to_beats
from organza_sim.cycles import simulate_cycles
from organza_sim.energy import as_row, program_energy
from organza_sim.issue_times import layer_cycles
from organza_sim.verify import Verification

__all__ = [
    "NOMINAL_CLOCK",
    "compression_ratio",
    "joint_traffic",
    "layer_rows",
    "make_report",
    "psnr_db",
    "write_report",
]

# Images/s need a clock; until a design is placed and routed this one is only a round number to compare with.
NOMINAL_CLOCK = 100e6
FLOAT_BITS = 32


def layer_rows(program: Program, plan: Plan | None = None) -> list[dict[str, object]]:
    """What is known of every layer, one dictionary each; lanes and cycles only with a Plan."""
    rows = [_layer(node) for node in program.nodes]
    if plan is None:
        return rows
    energies = iter(program_energy(program, plan))
    todo = iter(rows)
    for number, (work, before) in enumerate(zip(plan.works(program), plan.joints, strict=False)):
        lanes = work.lanes
        for schedule, cycles in zip(schedules_of(work), layer_cycles(work), strict=True):
            next(todo).update(
                engine=number,
                ti=schedule.ti,
                to=schedule.to,
                p=schedule.p,
                e=schedule.e,
                order=schedule.order,
                memory=schedule.memory,
                lanes=lanes,
                beat=before.n,
                depth=before.depth,
                cycles=cycles,
                issues=schedule.issues,
                macs_issued=schedule.issues * lanes,
                image_bits=schedule.image_bits,
                buffer_bits=schedule.buffer_bits + schedule.node.constant_bits,
                busy=cycles / plan.interval,
                utilization=schedule.node.macs / (lanes * plan.interval),
                **as_row(next(energies)),
            )
    return rows


def _layer(node: Convolve) -> dict[str, object]:
    return {
        "name": node.name,
        "input_shape": list(node.input_shape),
        "output_shape": list(node.output_shape),
        "kernel": [node.y.kernel, node.x.kernel],
        "up": [node.y.up, node.x.up],
        "down": [node.y.down, node.x.down],
        "crop_before": [node.y.crop_before, node.x.crop_before],
        "crop_after": [node.y.crop_after, node.x.crop_after],
        "groups": node.groups,
        "code": node.code.label,
        "weight_bits": node.code.field_bits,
        "bits_per_weight": node.code.stored_bits / node.code.integers().size,
        "compression_ratio": FLOAT_BITS * node.code.integers().size / node.code.stored_bits,
        "input_format": _format(node.input),
        "output_format": _format(node.output),
        "accumulator_bits": node.accumulator_bits,
        "activation": activation(node),
        "macs_output_counted": node.macs_output_counted,
        "macs_effectual": node.macs,
        "stored_bits": node.stored_bits,
        "buffer_bits": node.buffer_bits,
    }


def _format(form: Any) -> dict[str, object]:
    made: dict[str, object] = {"kind": form.kind, "bits": form.bits, "signed": form.signed, "scale": form.scale}
    if isinstance(form, Managed):  # the scale is that of the first image then
        made["exponents"] = asdict(form.rule)
    return made


def activation(node: Convolve) -> str:
    """The function after a layer, as its integers show it."""
    e = node.epilogue
    if e.table is not None:
        return "table"
    if (e.negative == e.positive).all():
        return "linear"
    return "leaky" if e.negative.any() else "relu"


def compression_ratio(program: Program) -> float:
    """Bits of weights and biases in float32 over the bits that the chip stores."""
    values = sum(node.code.integers().size + node.co for node in program.nodes)
    return values * FLOAT_BITS / sum(node.stored_bits for node in program.nodes)


def psnr_db(program: Program, real: np.ndarray, integers: np.ndarray) -> float | None:
    """PSNR in dB of integer outputs against real ones, one mean square over all pixels; None where they are equal."""
    error = unit_range(program, real) - unit_range(program, program.dequantize(integers))
    mean = float((error**2).mean())
    return None if mean == 0 else float(-10 * np.log10(mean))


def make_report(
    program: Program,
    plan: Plan,
    *,
    model: str,
    verification: Verification | None = None,
    simulation: Simulation | None = None,
    psnr: float | None = None,
    traffic: list[dict[str, object]] | None = None,
    budget: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """The report of a build, with what a verification or a simulation of it measured in RTL.

    budget : what the planner says of its budget, see `Planned.report`.

    Keys that were not measured are None. `utilization`, `latency` and `interval` are the RTL's where there is one,
    else the model's. `macs_issued` counts lanes × issues, useful or not.
    """
    if verification is not None and simulation is None:
        simulation = verification.simulation
    rows, energies = layer_rows(program, plan), program_energy(program, plan)
    issued = sum(row["macs_issued"] for row in rows)  # type: ignore[misc]
    images, cycles, cycles_model = None, None, plan.cycles
    latency, interval = plan.cycles, plan.interval
    utilization = program.macs / (plan.lanes * plan.interval)
    if simulation is not None:
        images, cycles = len(simulation.outputs), simulation.cycles
        latency, interval, utilization = (
            simulation.latency,
            simulation.interval,
            simulation.utilization,
        )
    if verification is not None:
        images = len(verification.images)
    if images is not None:
        cycles_model = simulate_cycles(program, plan, images).cycles
    return {
        "model": model,
        "bit_exact": None if verification is None else verification.bit_exact,
        "images": images,
        "cycles": cycles,
        "cycles_model": cycles_model,
        "latency": latency,
        "interval": interval,
        "macs_output_counted": sum(node.macs_output_counted for node in program.nodes),
        "macs_effectual": program.macs,
        "macs_issued": issued,
        "lanes": plan.lanes,
        "utilization": utilization,
        "compression_ratio": compression_ratio(program),
        "stored_bits": sum(node.stored_bits for node in program.nodes),
        "psnr_db": psnr,
        "board": None if budget is None else budget["board"],
        "budget": budget,
        "nominal_clock_hz": NOMINAL_CLOCK,
        "nominal_images_per_second": NOMINAL_CLOCK / interval,
        "simulated_cycles_per_second": None if simulation is None else simulation.cycles_per_second,
        "energy_uj": sum(energy.total for energy in energies),
        "energy_fpga_uj": sum(energy.fpga for energy in energies),
        "resources": plan.resources,
        "plan": {
            "program": plan.program,
            "cycles": plan.cycles,
            "interval": plan.interval,
            "engines": [_engine(engine) for engine in plan.engines],
            "joints": [{"n": joint.n, "depth": joint.depth, "coding": joint.coding} for joint in plan.joints],
        },
        "joint_traffic": traffic,
        "layers": rows,
        "verification": None if verification is None else verification.to_dict(),
    }


def joint_traffic(program: Program, plan: Plan, layers: list[np.ndarray]) -> list[dict[str, object]]:
    """Bits that an image puts on every joint between two engines, plain and run-length coded.

    layers : integer outputs of every node, as `Program.run_layers` gives them; the means over their images.
    """
    made = []
    for number, (tensor, joint) in enumerate(zip(plan.tensors[1:-1], plan.joints[1:-1], strict=True), 1):
        node, values = program.nodes[tensor - 1], layers[tensor - 1]
        beats, _ = to_beats(node.output.to_wire(values), joint.n)
        row_beats, bits = node.x.output * -(-node.co // joint.n), node.output.bits
        header = joint.n * bits if isinstance(node.output, Managed) else 0
        made.append({
            "joint": number, "coding": joint.coding, "zeros": float((beats == 0).mean()),
            "plain_bits": beats.size * bits / len(values) + header,
            "rle_bits": coded_bits(beats, row_beats, bits) / len(values) + header,
        })  # fmt: skip
    return made


def _engine(engine: EnginePlan) -> dict[str, object]:
    layers = [{"node": layer.node, "To": layer.To, "P": layer.P, "order": layer.order} for layer in engine.layers]
    # What there is of an engine of one layer stands beside it.
    return {"Ti": engine.Ti, "C": engine.C, "E": engine.E, "memory": engine.memory, "layers": layers, **(layers[0] if len(layers) == 1 else {})}


def write_report(folder: Path, report: dict[str, object], html: str) -> None:
    """Write `report.json` and `report.html` into `folder`."""
    (folder / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    (folder / "report.html").write_text(html)
