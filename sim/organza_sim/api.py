"""The two functions behind `organza.build` and `organza.simulate`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from organza.formats import Format, Managed
from organza.plan import Plan
from organza.program import Program
from organza_hw.build import TOP as GENERATOR
from organza_hw.build import Chip
from organza_hw.build import build as generate
from organza_hw.external.memory import VERILOG as MEMORY
from organza_hw.external.memory import Fed, external_works
from organza_hw.generator import Generator
from organza_hw.loading.image import weight_image
from organza_hw.verilog import to_verilog
from organza_sim import rtl
from organza_sim.beats import Beat, from_beats, to_beats
from organza_sim.planner import DEFAULT_LANES, plan_program
from organza_sim.status import STATUS_BEAT
from organza_sim.verilator import Progress

__all__ = [
    "Simulation",
    "build",
    "fed",
    "joint_beats",
    "joint_shapes",
    "run_chip",
    "simulate",
    "to_integers",
]

WATCHDOG = 100_000
FED = "fed"  # module with the memory beside the chip


@dataclass(frozen=True)
class Simulation:
    """What the RTL made of some images; cycles count from the acceptance of the first input beat.

    outputs : int64 (N, channels, height, width). image_ends : cycle of the last output beat of every image.
    joints : everything that passed joint k, with cycles, if it was asked for; and under ``"status1"``, … the status registers
        of joints with managed exponents, see `organza_sim.status`.
    cycles_per_second : speed of the simulation itself.
    """

    outputs: np.ndarray
    image_ends: np.ndarray
    macs: int
    lanes: int
    cycles_per_second: float
    joints: dict[int | str, rtl.Joint] = field(default_factory=dict, repr=False)

    @property
    def cycles(self) -> int:
        """First input beat accepted to last output beat accepted, all images."""
        return int(self.image_ends[-1])

    @property
    def latency(self) -> int:
        """The same for the first image."""
        return int(self.image_ends[0])

    @property
    def interval(self) -> int:
        """Last output of the last but one image to that of the last; of a single image its latency."""
        return (
            int(self.image_ends[-1] - self.image_ends[-2])
            if len(self.image_ends) > 1
            else self.latency
        )

    @property
    def utilization(self) -> float:
        """Effectual MACs per lane and cycle between the ends of the first and the last image.

        Of a single image: over its latency.
        """
        images = len(self.image_ends) - 1
        cycles = int(self.image_ends[-1] - self.image_ends[0]) if images else self.latency
        return self.macs * max(images, 1) / (self.lanes * cycles)


def build(program: Program, *, lanes: int = DEFAULT_LANES, plan: Plan | None = None) -> Chip:
    """The accelerator for `program`: planned for at most `lanes` lanes, or as `plan` says (see `organza_sim.budget_planner` for other budgets).

    The result has `.verilog()`, `.files` (memory images), `.plan` and `.cycles`.

    Raises TypeError / ValueError for a budget that is no integer or below one lane a layer, and ValueError for a Plan
    that does not fit the Program.
    """
    if not isinstance(program, Program):
        raise TypeError(f"Program to build must be a Program, not {type(program).__name__}")
    return generate(program, plan if plan is not None else plan_program(program, lanes))


def to_integers(program: Program, x: np.ndarray) -> np.ndarray:
    """Input integers (N, channels, height, width) of real or integer inputs; maps of 1×1 may be left out.

    Raises ValueError for a wrong shape, values that are not finite, or integers outside the input format.
    """
    x = np.asarray(x)
    if x.ndim == 2 and program.input_shape[1:] == (1, 1):
        x = x[:, :, None, None]
    if x.ndim != 4 or x.shape[1:] != program.input_shape or not len(x):
        expected = ", ".join(map(str, program.input_shape))
        raise ValueError(f"Inputs must have shape (N, {expected}) with N ≥ 1, not {x.shape}")
    if not np.issubdtype(x.dtype, np.integer):
        return program.quantize(x)
    if x.min() < program.input.low or x.max() > program.input.high:
        raise ValueError(
            f"Integer inputs must be between {program.input.low} and {program.input.high}, not {x.min()}…{x.max()}"
        )
    return x.astype(np.int64)


def joint_shapes(program: Program, plan: Plan) -> list[tuple[tuple[int, int, int], Format]]:
    """Shape (channels, height, width) and format of the tensor at every joint."""
    tensors = [(program.input_shape, program.input), *((node.output_shape, node.output) for node in program.nodes)]
    return [tensors[number] for number in plan.tensors]


def joint_beats(chip: Chip) -> list[Beat]:
    """Beat format of every joint."""
    shapes = joint_shapes(chip.program, chip.plan)
    return [
        Beat(joint.n, fmt.bits, fmt.signed)
        for joint, (_, fmt) in zip(chip.plan.joints, shapes, strict=True)
    ]


def fed(chip: Chip) -> str:
    """Verilog of `FED`: the accelerator and the memory beside the chip, for simulation. Empty where all weights are inside."""
    if not external_works(chip.program, chip.plan):
        return ""
    accelerator = Generator(chip.program, chip.plan, GENERATOR)
    return to_verilog(Fed(chip.program, chip.plan, accelerator, files=True), FED) + MEMORY


def run_chip(
    chip: Chip,
    x: np.ndarray,
    *,
    stalls: tuple[np.ndarray | None, np.ndarray | None] | None = None,
    trace: Path | None = None,
    joints: bool = False,
    progress: Progress | None = None,
    limit: int | None = None,
    weights: Program | None = None,
) -> rtl.RtlRun:
    """Run integers `x` (N, channels, height, width) through the chip's Verilog and memory images in Verilator.

    `joints` records every joint. `progress` is called with a message and a fraction. See `simulate` for the rest.
    """
    around = fed(chip)
    top: dict[str, str] = {"top": FED, "inside": f"accelerator.{GENERATOR}"} if around else {}
    simulator = rtl.build([chip.verilog(), *([around] if around else [])], **top, trace=trace is not None, progress=progress)
    formats = joint_beats(chip)
    beats, last = to_beats(x, chip.plan.joints[0].n)
    channels, height, width = chip.program.output_shape
    outputs = len(x) * height * width * -(-channels // chip.plan.joints[-1].n)
    say = progress or (lambda message, fraction: None)

    def report(cycle: int, count: int) -> None:
        say(f"Simulating, cycle {cycle:,}", count / outputs)

    recorded: dict[int | str, Beat] = dict(enumerate(formats))
    recorded |= {f"status{k}": STATUS_BEAT for k, (_, form) in enumerate(joint_shapes(chip.program, chip.plan)) if isinstance(form, Managed)}
    with tempfile.TemporaryDirectory(prefix="organza-") as name:
        folder = Path(name)
        for file, text in chip.files.items():
            (folder / file).write_text(text)
        stall_in, stall_out = stalls or (None, None)
        return rtl.run(
            simulator,
            beats,
            last,
            i=formats[0],
            o=formats[-1],
            outputs=outputs,
            stall_in=stall_in,
            stall_out=stall_out,
            joints=recorded if joints else None,
            folder=folder,
            wave=trace,
            layers=chip.plan.engine_names,
            images=[weight_image(chip.program, chip.plan, weights)] if chip.program.loads else (),
            watchdog=max(WATCHDOG, 4 * chip.plan.cycles),
            limit=limit,
            progress=report,
        )


def simulate(
    chip: Chip,
    x: np.ndarray,
    *,
    stalls: tuple[np.ndarray | None, np.ndarray | None] | None = None,
    trace: str | Path | None = None,
    joints: bool = False,
    progress: Progress | None = None,
    weights: Program | None = None,
) -> Simulation:
    """Run the chip's Verilog on inputs `x`, real (then quantised as the Program says) or integer.

    Parameters
    ----------
    x : (N, channels, height, width), N ≥ 1; (N, channels) will do for maps of 1×1.
    stalls : boolean traces for source and sink (either may be None), repeated: where true, the source offers nothing new
        or the sink takes nothing. Without them cycles equal the model's exactly.
    trace : VCD file to write (makes the simulation slower).
    joints : also record what passes between the layers.
    weights : Program whose weights are loaded into a chip that loads them; None for its own. They are loaded before cycle 0.

    Raises ValueError for wrong inputs, and weights that do not fit the chip, `organza_sim.verilator.VerilatorError` when a tool is missing, and
    `organza_sim.rtl.RtlError` when the Verilog hangs, breaks a stream's protocol, or reports damaged
    weights.
    """
    if weights is not None and not chip.program.loads:
        raise ValueError("Chip must load its weights to be run with others")
    integers = to_integers(weights or chip.program, x)
    run = run_chip(
        chip,
        integers,
        stalls=stalls,
        trace=None if trace is None else Path(trace),
        joints=joints,
        progress=progress,
        weights=weights,
    )
    return from_run(chip, run)


def from_run(chip: Chip, run: rtl.RtlRun) -> Simulation:
    """The `Simulation` of a complete run."""
    outputs = from_beats(run.outputs, *chip.program.output_shape)
    beats = len(run.outputs) // len(outputs)
    return Simulation(
        outputs=outputs,
        image_ends=run.out_cycles[beats - 1 :: beats] - run.in_cycles[0],
        macs=chip.program.macs,
        lanes=chip.plan.lanes,
        cycles_per_second=run.cycles_per_second,
        joints=run.joints,
    )
