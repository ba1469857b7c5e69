"""RTL against the integer reference and the cycle model: every value of every layer, every cycle of every image."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from organza.reference import Trace
from organza_hw.build import Chip
from organza_sim import api, rtl
from organza_sim.beats import from_beats, to_beats
from organza_sim.build_folder import Build, MemoryDifference, load_build
from organza_sim.cycles import simulate_cycles
from organza_sim.status import FIELDS, expected_status, headers_of, status_of, without_headers
from organza_sim.verilator import Progress

__all__ = ["Difference", "ExponentDifference", "ExponentVerdict", "ImageVerdict", "LayerVerdict", "Verification", "verify"]


@dataclass(frozen=True)
class Difference:
    """One value that is not what the reference says. `got` is None where the value never came."""

    layer: str
    image: int
    channel: int
    y: int
    x: int
    expected: int
    got: int | None

    def __str__(self) -> str:
        got = "nothing" if self.got is None else str(self.got)
        return (
            f"layer {self.layer}, image {self.image}, channel {self.channel}, y {self.y}, x {self.x}: "
            f"expected {self.expected}, got {got}"
        )


@dataclass(frozen=True)
class ExponentDifference:
    """One number about the exponent of a layer's output that is not what the reference says. `got` is None if it never came.

    what : "header", the exponent in front of the image, or one of `organza_sim.status.FIELDS` in the status registers.
    """

    layer: str
    image: int
    what: str
    expected: int
    got: int | None

    def __str__(self) -> str:
        got = "nothing" if self.got is None else str(self.got)
        return f"layer {self.layer}, image {self.image}, {self.what} of its exponents: expected {self.expected}, got {got}"


@dataclass(frozen=True)
class ExponentVerdict:
    """How the exponents of a layer's output compare.

    lowest, highest : of all images, by the reference. overflows : images in which a value was clamped, by the reference.
    wrong : numbers in headers and status registers that differ, and the first of them.
    """

    layer: str
    images: int
    lowest: int
    highest: int
    overflows: int
    wrong: int
    first: ExponentDifference | None


@dataclass(frozen=True)
class LayerVerdict:
    """How the outputs of one layer compare: values over all images, wrong ones, and the first of them.

    code : `Code.label`; the reference has the same adders.
    """

    layer: str
    code: str
    values: int
    wrong: int
    first: Difference | None


@dataclass(frozen=True)
class ImageVerdict:
    """One image: whether all values of all layers are right, and the cycle of its last output beat."""

    image: int
    bit_exact: bool
    cycle: int | None
    cycle_model: int

    @property
    def passed(self) -> bool:
        """Right in values and in time."""
        return self.bit_exact and self.cycle == self.cycle_model


@dataclass(frozen=True)
class Verification:
    """The outcome of `verify`.

    stopped : why the simulation ended early, or None. memory : memory images that differ from the Program.
    edited : generated files that were changed since the build; a hint, not a failure.
    exponents : of the layers whose output has managed ones. simulation : None if it stopped.
    """

    images: tuple[ImageVerdict, ...]
    layers: tuple[LayerVerdict, ...]
    stopped: str | None
    memory: tuple[MemoryDifference, ...] = ()
    edited: tuple[str, ...] = ()
    exponents: tuple[ExponentVerdict, ...] = ()
    simulation: api.Simulation | None = field(default=None, repr=False)

    @property
    def bit_exact(self) -> bool:
        """Every value of every layer of every image is the reference's, and every exponent."""
        return self.stopped is None and all(image.bit_exact for image in self.images)

    @property
    def cycle_exact(self) -> bool:
        """Every image ends in exactly the cycle that the model says."""
        return all(image.cycle == image.cycle_model for image in self.images)

    @property
    def passed(self) -> bool:
        """Values, cycles and memory images are all right."""
        return self.bit_exact and self.cycle_exact and not self.memory

    @property
    def first(self) -> Difference | ExponentDifference | None:
        """The earliest difference: of the first wrong image the first wrong layer, and of that its exponent before its values."""
        order = [layer.layer for layer in self.layers]
        found = [part.first for part in (*self.exponents, *self.layers) if part.first is not None]
        return min(found, key=lambda first: (first.image, order.index(first.layer)), default=None)

    def to_dict(self) -> dict[str, object]:
        """All of it but the simulation, for JSON."""
        first = self.first
        return {
            "passed": self.passed,
            "bit_exact": self.bit_exact,
            "cycle_exact": self.cycle_exact,
            "first_difference": None if first is None else asdict(first),
            "stopped": self.stopped,
            "images": [{**asdict(image), "passed": image.passed} for image in self.images],
            "layers": [asdict(layer) for layer in self.layers],
            "exponents": [asdict(layer) for layer in self.exponents],
            "memory": [asdict(difference) for difference in self.memory],
            "edited": list(self.edited),
        }


def verify(
    target: Chip | Build | str | Path, inputs: np.ndarray, *, progress: Progress | None = None
) -> Verification:
    """Run the RTL on `inputs` and compare every joint with the reference and every image's cycle with the model.

    Parameters
    ----------
    target : a chip, or a build folder, whose Verilog and memory images are taken as they are in it now.
    inputs : (N, channels, height, width), real or integer; the pipeline gets the images back to back.

    Raises `UserError` for a folder that is no build, ValueError for inputs that do not fit, and
    `organza_sim.verilator.VerilatorError` when the Verilog does not compile. A design that hangs is a verdict, not an error.
    """
    if isinstance(target, str | Path):
        target = load_build(target)
    build = target if isinstance(target, Build) else None
    chip = target.chip if isinstance(target, Build) else target
    x = api.to_integers(chip.program, inputs)
    stopped, run = None, None
    try:
        run = api.run_chip(chip, x, joints=True, progress=progress)
    except rtl.RtlError as error:
        stopped, run = f"{error.kind}: {error}", error.run
    trace = chip.program.trace(x)
    layers, good = _layers(chip, trace, run)
    exponents, right = _exponents(chip, trace, run)
    good &= right
    timing = simulate_cycles(chip.program, chip.plan, len(x))
    model = [sent - timing.first for sent in timing.sent]
    images = tuple(
        ImageVerdict(image, bool(good[image]), cycle, model[image])
        for image, cycle in enumerate(_image_ends(chip, run, len(x)))
    )
    return Verification(
        images,
        layers,
        stopped,
        memory=build.wrong_words if build else (),
        edited=build.edited if build else (),
        exponents=exponents,
        simulation=None if stopped or run is None else _simulation(chip, run),
    )


def _simulation(chip: Chip, run: rtl.RtlRun) -> api.Simulation | None:
    try:
        return api.from_run(chip, run)
    except ValueError:
        return None  # padding channels that are not zero: outputs, but no images


def _image_ends(chip: Chip, run: rtl.RtlRun | None, images: int) -> list[int | None]:
    """Cycle of the last output beat of every image, None where it never came."""
    channels, height, width = chip.program.output_shape
    beats = height * width * -(-channels // chip.plan.joints[-1].n)
    if run is None or not len(run.in_cycles):
        return [None] * images
    ends = run.out_cycles[beats - 1 :: beats][:images] - run.in_cycles[0]
    return [*map(int, ends), *[None] * (images - len(ends))]


def _layers(
    chip: Chip, trace: Trace, run: rtl.RtlRun | None
) -> tuple[tuple[LayerVerdict, ...], np.ndarray]:
    """Verdict of every layer, and which images are right throughout."""
    good = np.ones(len(trace.layers[0]), bool)
    verdicts = []
    for k, (node, want) in enumerate(zip(chip.program.nodes, trace.layers, strict=True)):
        if k + 1 not in chip.plan.tensors:  # stays in its engine
            verdicts.append(LayerVerdict(node.name, node.code.label, 0, 0, None))
            continue
        number = chip.plan.tensors.index(k + 1)
        n = chip.plan.joints[number].n
        joint = run.joints.get(number) if run is not None else None
        beats, last = to_beats(node.output.to_wire(want), n)
        if joint is not None and trace.exponents[k] is not None:
            joint = without_headers(joint, len(beats) // len(want))
        got, came = _padded(joint, beats.shape)
        # A lost or a wrong end-of-image mark makes its whole beat wrong.
        marked = np.zeros(len(beats), bool)
        if joint is not None:
            count = min(len(joint.last), len(beats))
            marked[:count] = joint.last[:count] != last[:count]
        bad = (got != beats) | ~came[:, None] | marked[:, None]
        wrong = from_beats((bad * np.ones_like(beats)), *_padded_shape(node.output_shape, n)) != 0
        # Padding that is not zero counts against the last channel of its pixel.
        wrong[:, node.co - 1] |= wrong[:, node.co :].any(1)
        wrong = wrong[:, : node.co]
        good &= ~wrong.any((1, 2, 3))
        first = None
        if wrong.any():
            # The order of the stream: image, row, column, channel.
            image, y, x, channel = (int(i) for i in np.argwhere(wrong.transpose(0, 2, 3, 1))[0])
            beat = ((image * node.y.output + y) * node.x.output + x) * -(
                -node.co // n
            ) + channel // n
            value = int(got[beat, channel % n]) if came[beat] else None
            first = Difference(
                node.name, image, channel, y, x, int(want[image, channel, y, x]), value
            )
        verdicts.append(LayerVerdict(node.name, node.code.label, int(want.size), int(wrong.sum()), first))
    return tuple(verdicts), good


def _exponents(
    chip: Chip, trace: Trace, run: rtl.RtlRun | None
) -> tuple[tuple[ExponentVerdict, ...], np.ndarray]:
    """Verdict of every layer whose output has managed exponents, and which images are right throughout."""
    good = np.ones(len(trace.layers[0]), bool)
    verdicts = []
    for k, (node, exponents) in enumerate(zip(chip.program.nodes, trace.exponents, strict=True), 1):
        if exponents is None:
            continue
        headers = registers = None
        if run is not None and k in run.joints:
            beats = node.y.output * node.x.output * -(-node.co // chip.plan.joints[k].n)
            headers, registers = headers_of(run.joints[k], beats), status_of(run.joints[f"status{k}"])
        first, wrong = None, 0
        # In the order in which they come: an exponent stands in front of its image, its registers follow it.
        for names, want, got in (
            (("header",), exponents.exponent[:, None], headers), (FIELDS, expected_status(exponents), registers)
        ):  # fmt: skip
            values, came = np.zeros_like(want), np.zeros(len(want), bool)
            if got is not None:
                count = min(len(got), len(want))
                values[:count], came[:count] = got[:count], True
            bad = (values != want) | ~came[:, None]
            good &= ~bad.any(1)
            wrong += int(bad.sum())
            if bad.any() and (first is None or first.image > np.flatnonzero(bad.any(1))[0]):
                image, column = (int(i) for i in np.argwhere(bad)[0])
                value = int(values[image, column]) if came[image] else None
                first = ExponentDifference(node.name, image, names[column], int(want[image, column]), value)
        verdicts.append(ExponentVerdict(
            node.name, len(exponents.exponent), int(exponents.exponent.min()), int(exponents.exponent.max()),
            int(exponents.overflow.sum()), wrong, first,
        ))  # fmt: skip
    return tuple(verdicts), good


def _padded_shape(shape: tuple[int, int, int], n: int) -> tuple[int, int, int]:
    """`shape` with the channels that fill the last beat of a pixel, so that flags there are allowed."""
    return -(-shape[0] // n) * n, shape[1], shape[2]


def _padded(joint: rtl.Joint | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The beats of a joint in an array of `shape`, and which of them came."""
    got, came = np.zeros(shape, np.int64), np.zeros(shape[0], bool)
    if joint is not None:
        count = min(len(joint.beats), shape[0])
        got[:count], came[:count] = joint.beats[:count], True
    return got, came
