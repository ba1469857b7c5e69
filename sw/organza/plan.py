"""The Plan: which engine runs which layer with how many lanes; JSON beside the Program that it belongs to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path

from organza.errors import UserError
from organza.formats import Managed
from organza.program import Convolve, Program
from organza.program_file import program_hash
from organza.run_length import CODINGS
from organza.schedule import Schedule
from organza.time_sharing import OUTPUT_ROWS, PIPELINES, TimeSharing

VERSION = 2

Work = Schedule | TimeSharing


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """One layer on an engine: node name, output channels To and pixels P at once, weight reuse B, order.

    order : "row" or "weight", see `organza.visits`. G : pixels whose sums leave at once, in the last layer of a time-shared engine;
        each has E / G of the engine's epilogue units, other layers E, as far as there are channels for them.
    """

    node: str
    To: int
    P: int = 1
    B: int = 1
    order: str = "row"
    G: int = 1


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """One engine: Ti input channels × C lanes of (output channel, pixel), E epilogue units, its layers.

    Several layers share the engine in time, see `organza.time_sharing`; each may leave some of the C lanes and E units unused.

    memory : "rom", lane words are read as they are stored. Of a serial code "expand", it fills a buffer after reset; or
        "stream", in weight order, it makes each lane word anew for every image. "external", in weight order: each lane word comes once
        an image through a port, from a memory beside the chip.
    arithmetic : which lanes, see `Code.arithmetics`.
    rows, pipeline : of a time-shared engine, see `TimeSharing`.
    """

    Ti: int
    C: int
    E: int
    layers: tuple[LayerPlan, ...]
    memory: str = "rom"
    arithmetic: str = "plain"
    rows: int = OUTPUT_ROWS
    pipeline: str = PIPELINES[0]

    @classmethod
    def of(cls, work: Work) -> EnginePlan:
        """The engine that runs this and nothing else."""
        schedules = schedules_of(work)
        first = schedules[0]
        layers = tuple(LayerPlan(node=one.node.name, To=one.to, P=one.p, order=one.order, G=one.g) for one in schedules)
        own = {"rows": work.rows, "pipeline": work.pipeline} if isinstance(work, TimeSharing) else {}
        c = work.c if isinstance(work, TimeSharing) else work.to * work.p
        return cls(Ti=first.ti, C=c, E=work.e, memory=first.memory, arithmetic=first.arithmetic, layers=layers, **own)

    def work(self, nodes: list[Convolve]) -> Work:
        """What the engine does with these layers, which are its own. Raises ValueError as `Schedule` and `TimeSharing` do."""
        shared = len(self.layers) > 1
        schedules = tuple(
            Schedule(
                node=node, ti=self.Ti, to=layer.To, p=layer.P, e=min(self.E // layer.G, layer.To) if shared else self.E,
                g=layer.G, arithmetic=self.arithmetic, order=layer.order, memory=self.memory,
            ) for node, layer in zip(nodes, self.layers, strict=True)
        )  # fmt: skip
        return TimeSharing(layers=schedules, c=self.C, e=self.E, rows=self.rows, pipeline=self.pipeline) if shared else schedules[0]


@dataclass(frozen=True, kw_only=True)
class JointPlan:
    """One joint: channels per beat n, and rows that the consumer's ring holds (0 after the last engine, an image before a
    time-shared one).

    coding : "plain", or "rle" between two engines, see `organza.run_length`.
    """

    n: int
    depth: int
    coding: str = "plain"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole accelerator.

    engines : in order of the data. joints : one before each engine and one after the last.
    cycles, interval : from the exact cycle model, in clock cycles, for one image and between images.
    """

    program: str
    engines: tuple[EnginePlan, ...]
    joints: tuple[JointPlan, ...]
    cycles: int = 0
    interval: int = 0
    resources: dict[str, int] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return sum(engine.Ti * engine.C for engine in self.engines)

    @property
    def engine_names(self) -> list[str]:
        """Every engine by the layer that it runs, or the first and last of several."""
        names = [[layer.node for layer in engine.layers] for engine in self.engines]
        return [one[0] if len(one) == 1 else f"{one[0]}…{one[-1]}" for one in names]

    @property
    def tensors(self) -> list[int]:
        """What passes every joint: 0 for the input, k for the output of layer k, counted from 1."""
        return [0, *accumulate(len(engine.layers) for engine in self.engines)]

    def schedules(self, program: Program) -> list[Schedule]:
        """The schedule of every layer. Raises ValueError as `works`."""
        return [schedule for work in self.works(program) for schedule in schedules_of(work)]

    def works(self, program: Program) -> list[Work]:
        """What every engine does.

        Raises ValueError when the Plan does not fit `program`, naming the first thing that does not.
        """
        if self.program != program_hash(program):
            raise ValueError(f"Plan belongs to Program {self.program[:12]}…, not to {program_hash(program)[:12]}…")
        layers = sum(len(engine.layers) for engine in self.engines)
        if layers != len(program.nodes):
            raise ValueError(f"Plan must have engines for {len(program.nodes)} layers, not {layers}")
        if len(self.joints) != len(self.engines) + 1:
            raise ValueError(f"Plan must have {len(self.engines) + 1} joints, not {len(self.joints)}")
        for k, joint in enumerate(self.joints):
            self._check_coding(k, joint)
        nodes, made = list(program.nodes), []
        for engine, before, after in zip(self.engines, self.joints, self.joints[1:], strict=False):
            mine, nodes = nodes[: len(engine.layers)], nodes[len(engine.layers) :]
            wanted, names = [node.name for node in mine], [layer.node for layer in engine.layers]
            if not names or names != wanted:
                raise ValueError(f"Plan engine must run the layer {', '.join(map(repr, wanted)) or 'that is next'}, not {names}")
            if before.coding != "plain" and isinstance(mine[0].input, Managed):
                raise ValueError(f"{mine[0].name}: coding before it must be 'plain' with managed exponents, not {before.coding!r}")
            made.append(_work(engine, mine, before, after))
        return made

    def _check_coding(self, k: int, joint: JointPlan) -> None:
        if joint.coding not in CODINGS:
            known = " or ".join(map(repr, CODINGS))
            raise ValueError(f"Plan joint {k}: coding must be {known}, not {joint.coding!r}")
        if joint.coding != "plain" and k in (0, len(self.engines)):
            raise ValueError(f"Plan joint {k}: coding must be 'plain' outside the engines, not {joint.coding!r}")


def schedules_of(work: Work) -> tuple[Schedule, ...]:
    """Of the layers of an engine, in order."""
    return work.layers if isinstance(work, TimeSharing) else (work,)


def _work(engine: EnginePlan, nodes: list[Convolve], before: JointPlan, after: JointPlan) -> Work:
    first, last = nodes[0], nodes[-1]
    for layer in engine.layers:
        if layer.B != 1:
            raise ValueError(f"{layer.node}: B must be 1, not {layer.B}")
        if len(nodes) == 1 and layer.G != 1:
            raise ValueError(f"{layer.node}: G must be 1 in an engine of one layer, not {layer.G}")
        if len(nodes) == 1 and engine.rows != OUTPUT_ROWS:
            raise ValueError(f"{layer.node}: rows must be {OUTPUT_ROWS} in an engine of one layer, not {engine.rows}")
        if len(nodes) == 1 and engine.pipeline != PIPELINES[0]:
            raise ValueError(f"{layer.node}: pipeline must be {PIPELINES[0]!r} in an engine of one layer, not {engine.pipeline!r}")
        if len(nodes) == 1 and engine.C != layer.To * layer.P:
            raise ValueError(f"{layer.node}: C must be To·P = {layer.To * layer.P}, not {engine.C}")
    work = engine.work(nodes)
    if isinstance(work, TimeSharing):
        if before.depth != first.y.size:
            raise ValueError(f"{first.name}: depth before a time-shared engine must be an image of {first.y.size} rows, not {before.depth}")
    elif before.depth < work.least_depth:
        raise ValueError(f"{first.name}: ring depth must be at least {work.least_depth}, not {before.depth}")
    e = schedules_of(work)[-1].e
    if not 1 <= before.n <= first.ci:
        raise ValueError(f"{first.name}: joint n must be between 1 and {first.ci}, not {before.n}")
    if not e <= after.n <= last.co:
        raise ValueError(f"{last.name}: n after it must be between E = {e} and {last.co}, not {after.n}")
    return work


def dump_plan(plan: Plan, path: str | Path) -> None:
    """Write `plan` to `path`, completely or not at all."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps({"version": VERSION, **asdict(plan)}, indent=2) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_plan(path: str | Path) -> Plan:
    """Read a Plan. Raises `UserError` naming the file and the key that is wrong."""
    path = Path(path)
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a Plan ({error})") from error
    if not isinstance(data, dict) or data.pop("version", None) != VERSION:
        raise UserError(f"{path}: Plan version must be {VERSION}; plan the Program again")
    try:
        engines = tuple(
            EnginePlan(**{**engine, "layers": tuple(LayerPlan(**layer) for layer in engine["layers"])})
            for engine in data.pop("engines")
        )
        joints = tuple(JointPlan(**joint) for joint in data.pop("joints"))
        plan = Plan(engines=engines, joints=joints, **data)
        _check_integers(plan)
        return plan
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a Plan of this version ({error})") from error


def _check_integers(plan: Plan) -> None:
    """Raises TypeError naming the key of a number that is not an integer."""
    groups = [("engines", plan.engines), ("joints", plan.joints)]
    groups += [(f"engines[{k}].layers", engine.layers) for k, engine in enumerate(plan.engines)]
    for label, items in groups:
        for index, item in enumerate(items):
            for key in ("Ti", "C", "E", "To", "P", "B", "n", "depth"):
                value = getattr(item, key, 0)
                if isinstance(value, bool) or not isinstance(value, int):
                    raise TypeError(f"{label}[{index}].{key} must be an integer, not {value!r}")
