"""Runs a generated accelerator in Verilator, and records every beat and the cycle it passed in.

>>> simulator = build(verilog_text)
>>> beats, last = to_beats(images, n)
>>> run = run(simulator, beats, last, i=Beat(n, 8, True), o=Beat(m, 8, True), outputs=count)
>>> run.outputs, run.cycles
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from organza.weight_image import Reason

from .beats import Beat
from .verilator import Progress, compile_verilog

__all__ = ["Joint", "RtlError", "RtlRun", "Simulator", "build", "random_stalls", "run"]

KINDS = {3: "protocol", 4: "stuck", 5: "extra", 6: "limit", 7: "damaged", 8: "refused"}


@dataclass(frozen=True)
class Simulator:
    """A compiled accelerator: the program, the widths of payloads, whether it writes waveforms."""

    program: Path
    in_bits: int
    out_bits: int
    joint_bits: Mapping[int | str, int]
    """Of joint k; and of the status registers of one with managed exponents under ``"status1"``, …"""
    trace: bool
    loads: bool = False
    """Weights are loaded before a run."""


@dataclass(frozen=True)
class Joint:
    """What passed a joint: ``beats`` (B, n), ``last`` (B,), and the ``cycles`` (B,) of each."""

    beats: np.ndarray
    last: np.ndarray
    cycles: np.ndarray


@dataclass(frozen=True)
class RtlRun:
    """What a run gave. Cycle 0 is the first cycle after reset."""

    outputs: np.ndarray
    """Output beats (B, n), int64."""
    last: np.ndarray
    """``last`` of every output beat, booleans (B,)."""
    in_cycles: np.ndarray
    """Cycle in which each input beat was accepted."""
    out_cycles: np.ndarray
    """Cycle in which each output beat was accepted."""
    joints: dict[int | str, Joint] = field(repr=False)
    """What passed each of the joints and status registers asked for."""
    simulated: int = 0
    """Cycles simulated, with the silence that was checked after the last beat."""
    seconds: float = 0.0
    """Time of the simulation itself, without starting it."""

    @property
    def cycles(self) -> int:
        """Cycles from the acceptance of the first input beat to that of the last output beat."""
        return int(self.out_cycles[-1] - self.in_cycles[0])

    @property
    def image_ends(self) -> np.ndarray:
        """Cycle in which the last beat of each image was accepted."""
        return self.out_cycles[self.last]

    @property
    def latency(self) -> int:
        """Cycles from the first input beat to the last output beat of the first image."""
        return int(self.image_ends[0] - self.in_cycles[0])

    @property
    def intervals(self) -> np.ndarray:
        """Cycles between the last beats of consecutive images."""
        return np.diff(self.image_ends)

    @property
    def cycles_per_second(self) -> float:
        """Speed of the simulation."""
        return self.simulated / self.seconds if self.seconds else float("inf")


class RtlError(Exception):
    """A run did not end as it should. ``run`` holds what was recorded until then, if anything was.

    ``kind`` is ``"protocol"`` (a stream changed or withdrew an offered beat), ``"stuck"`` (no beat
    moved for too long), ``"extra"`` (more output than expected), ``"limit"`` (too many cycles),
    ``"damaged"`` (a decoder found that stored weights are damaged), ``"refused"`` (an image of weights was) or ``"crash"``.
    """

    def __init__(self, kind: str, message: str, run: RtlRun | None = None):
        super().__init__(message)
        self.kind = kind
        self.run = run


def damage(layer: str, number: int, cycle: int) -> str:
    """What to say of a layer whose decoder has found an error in ``cycle``."""
    return f"stored weights of layer {layer} (layer{number}_*.hex) are damaged: its decoder stopped in cycle {cycle}"


def refused(number: int) -> str:
    """What to say of the port ``refusal``."""
    return Reason(number).text if number else "the image was not complete"


def random_stalls(probability: float, seed: int, length: int = 4099) -> np.ndarray:
    """A stall trace of ``length`` cycles, each but the first stalled with ``probability``."""
    if not 0 <= probability < 1:
        raise ValueError(f"Stall probability must be at least 0 and below 1, not {probability!r}")
    trace = np.random.default_rng(seed).random(length) < probability
    trace[0] = False
    return trace


def build(
    verilog: str | Path | Sequence[str | Path],
    *,
    top: str = "generator",
    inside: str = "",
    trace: bool = False,
    optimize: str | None = None,
    progress: Progress | None = None,
) -> Simulator:
    """Compiles the accelerator ``top`` in ``verilog``, texts or files, together with the harness.

    Joints are those of ``top``, or of its module ``inside``, as a path of instances that ends with the module's name.
    ``trace`` makes a slower program that can write waveforms. The result is cached. Raises
    :exc:`ValueError` if the Verilog has no module ``top`` with the streams ``i`` and ``o``, and
    :exc:`~organza_sim.verilator.VerilatorError` if it does not compile.
    """
    sources = [verilog] if isinstance(verilog, str | Path) else list(verilog)
    texts = [s.read_text() if isinstance(s, Path) else s for s in sources]
    body = _module("\n".join(texts), top)
    bits = {}
    for port, flow in (("i", "input"), ("o", "output")):
        found = re.search(
            rf"\b{flow}\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\]\s*)?{port}__payload\b", body
        )
        if not found:
            raise ValueError(f"Module {top!r} must have the {flow} {port}__payload, but has none")
        bits[port] = int(found[1] or 0) + 1
    path = [top, *inside.split(".")] if inside else [top]
    joints = {
        (int(k) if kind == "joint" else f"{kind}{k}"): int(high or 0) + 1
        for high, kind, k in re.findall(
            r"\b(?:wire|reg)\s+(?:\[(\d+):0\]\s*)?(joint|status)(\d+)_payload\b", _module("\n".join(texts), path[-1])
        )
    }
    error = re.search(r"\boutput\s+(?:wire\s+|reg\s+)?(?:\[(\d+):0\]\s*)?error\b", body)
    errors = int(error[1] or 0) + 1 if error else 0
    loads = int(re.search(r"\binput\s+(?:wire\s+)?load__valid\b", body) is not None)
    lines = [f"#define IN_BITS {bits['i']}", f"#define ERROR_BITS {errors}", f"#define LOADS {loads}", "#define JOINTS(J) \\"]
    lines += [
        f'    J("{name}", '
        + ", ".join("__DOT__".join([*path, f"{name}_{part}"]) for part in ("payload", "valid", "ready"))
        + ") \\"
        for name in map(_name, sorted(joints, key=_order))
    ]
    public = [f'public_flat_rd -module "{path[-1]}" -var "{kind}*"\n' for kind in ("joint", "status")
              if any(_name(key).startswith(kind) for key in joints)]  # fmt: skip
    control = "`verilator_config\n" + "".join(public) if public else ""
    harness = Path(__file__).with_name("harness.cpp").read_text()
    program = compile_verilog(
        texts,
        top,
        cpp={"harness.cpp": harness, "joints.h": "\n".join(lines) + "\n\n"},
        control=control,
        optimize=optimize,
        trace=trace,
        progress=progress,
    )
    return Simulator(program, bits["i"], bits["o"], joints, trace, bool(loads))


def run(
    simulator: Simulator,
    beats: np.ndarray,
    last: np.ndarray,
    *,
    i: Beat,
    o: Beat,
    outputs: int,
    stall_in: np.ndarray | None = None,
    stall_out: np.ndarray | None = None,
    joints: Mapping[int | str, Beat] | None = None,
    folder: Path | None = None,
    wave: Path | None = None,
    wave_cycles: tuple[int, int] | None = None,
    layers: Sequence[str] = (),
    images: Sequence[bytes] = (),
    watchdog: int = 1_000_000,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RtlRun:
    """Feeds ``beats`` (B, n) with their ``last`` flags, and takes ``outputs`` beats.

    ``i`` and ``o`` are the formats of the streams. ``stall_in`` and ``stall_out`` are boolean
    traces: in cycle c the source does not start to offer a beat (one that is already offered
    stays), or the sink does not accept one, if entry c modulo their length is true. Without them
    the source is always valid and the sink always ready. ``joints`` asks for what passes these
    joints. The Verilog's memory files are looked up in ``folder``. ``wave`` is a VCD file to write,
    of the cycles ``wave_cycles`` (from, to) only if given. The run fails after ``watchdog`` cycles
    without any transfer, and after ``limit`` cycles. If the output ``error`` rises it fails at once, and
    says which of the ``layers`` it is. ``images`` of weights are loaded before cycle 0, one after the other, whole or not; the last must
    be accepted. ``progress`` is called with the cycle and the
    number of outputs.

    Raises :exc:`RtlError` if a stream breaks its protocol, if the accelerator hangs or reports
    damaged weights, or if there is output beyond ``outputs`` within 128 cycles after the last one. Whether the output is *right* is
    for the caller to say.
    """
    for port, beat, bits in (("i", i, simulator.in_bits), ("o", o, simulator.out_bits)):
        if beat.bits != bits:
            raise ValueError(
                f"Beat of stream {port!r} must have the {bits} bits of the port, not {beat.bits}"
            )
    for k, beat in (joints or {}).items():
        if k not in simulator.joint_bits:
            known = sorted(simulator.joint_bits, key=_order)
            raise ValueError(f"Joint must be one of {known}, not {k!r}")
        if beat.bits != simulator.joint_bits[k]:
            raise ValueError(
                f"Beat of joint {k} must have its {simulator.joint_bits[k]} bits, not {beat.bits}"
            )
    if wave and not simulator.trace:
        raise ValueError("Waveforms need a simulator built with trace=True")
    if simulator.loads != bool(images):
        raise ValueError(f"Accelerator must be run {'with' if simulator.loads else 'without'} images of weights")
    if outputs < 1:
        raise ValueError(f"Number of outputs must be positive, not {outputs!r}")

    with tempfile.TemporaryDirectory(prefix="organza-") as name:
        results = Path(name)
        i.pack(beats, last).tofile(results / "input")
        arguments = [
            f"results={results}",
            f"input={results / 'input'}",
            f"outputs={int(outputs)}",
            f"watchdog={int(watchdog)}",
            f"probe={int(bool(joints))}",
        ]
        if images:
            loaded = [np.frombuffer(image, np.uint8).astype("<u2") for image in images]
            for one in loaded:
                one[:1] |= 1 << 8
            np.concatenate(loaded).tofile(results / "load")
            arguments.append(f"load={results / 'load'}")
        for port, trace in (("stall_in", stall_in), ("stall_out", stall_out)):
            if trace is None:
                continue
            trace = np.asarray(trace)
            if trace.dtype != bool:
                raise TypeError(f"Stall trace must be booleans, not {trace.dtype}")
            if trace.ndim != 1 or not len(trace) or trace.all():
                raise ValueError(
                    "Stall trace must be one-dimensional with at least one cycle without a stall"
                )
            trace.astype(np.uint8).tofile(results / port)
            arguments.append(f"{port}={results / port}")
        if limit is not None:
            arguments.append(f"limit={int(limit)}")
        if wave:
            arguments.append(f"wave={Path(wave).absolute()}")
            if wave_cycles:
                arguments += [f"wave_from={int(wave_cycles[0])}", f"wave_to={int(wave_cycles[1])}"]
        status, lines, log = _execute([str(simulator.program), *arguments], folder, progress)
        done = next((line.split()[1:] for line in lines if line.startswith("done ")), None)
        # A missing memory file is only a warning to Verilator; the run would be of another
        # accelerator.
        complaints = [line for line in lines + log if line.startswith("%")]
        if done is None or complaints or status not in (0, *KINDS):
            tail = "\n".join((complaints or lines + log)[-20:])
            raise RtlError("crash", f"The simulation failed with exit status {status}:\n{tail}")

        def recorded(stream: str, beat: Beat) -> Joint:
            values = beat.unpack(np.fromfile(results / f"{stream}.beats", "<u4"))
            return Joint(*values, np.fromfile(results / f"{stream}.cycles", "<i8"))

        out = recorded("o", o)
        made = RtlRun(
            out.beats,
            out.last,
            np.fromfile(results / "i.cycles", "<i8"),
            out.cycles,
            {k: recorded(_name(k), beat) for k, beat in (joints or {}).items()},
            int(done[0]),
            float(done[1]),
        )
    if status:
        damaged = [tuple(map(int, line.split()[1:])) for line in lines if line.startswith("damaged ")]
        names = dict(enumerate(layers))
        log += [f"weights were refused: {refused(int(line.split()[1]))}" for line in lines if line.startswith("refused ")]
        log += [damage(names.get(number, f"{number}"), number, cycle) for number, cycle in damaged]
        raise RtlError(KINDS[status], "\n".join(log), made)
    return made


def _order(key: int | str) -> tuple[bool, int | str]:
    """Joints downstream, then status registers."""
    return isinstance(key, str), key


def _name(key: int | str) -> str:
    """Name of a recorded stream: joints have numbers."""
    return f"joint{key}" if isinstance(key, int) else key


def _execute(
    command: list[str], folder: Path | None, progress: Callable[[int, int], None] | None
) -> tuple[int, list[str], list[str]]:
    lines = []
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.startswith("progress "):
                        if progress:
                            cycle, count = line.split()[1:]
                            progress(int(cycle), int(count))
                    else:
                        lines.append(line.rstrip())
            except BaseException:
                process.kill()  # an interrupted user, or a callback that raised
                raise
        errors.seek(0)
        return process.returncode, lines, errors.read().splitlines()


def _module(text: str, name: str) -> str:
    found = re.search(
        rf"^\s*module\s+{re.escape(name)}\b.*?^\s*endmodule\b", text, re.DOTALL | re.MULTILINE
    )
    if not found:
        raise ValueError(f"Verilog must have a module {name!r}, but has none")
    return found[0]
