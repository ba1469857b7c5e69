"""The Plan: which engine runs which layer with how many lanes; JSON beside the Program that it belongs to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from organza.errors import UserError
from organza.formats import Managed
from organza.program import Program
from organza.program_file import program_hash
from organza.run_length import CODINGS
from organza.schedule import Schedule

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """One layer on an engine: node name, output channels To and pixels P at once, weight reuse B, order.

    order : "row" or "weight", see `organza.visits`.
    """

    node: str
    To: int
    P: int = 1
    B: int = 1
    order: str = "row"


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """One engine: Ti input channels × C lanes of (output channel, pixel), E epilogue units, its layers.

    memory : "rom", lane words are read as they are stored. Of a serial code "expand", it fills a buffer after reset; or
        "stream", in weight order, it makes each lane word anew for every image.
    arithmetic : which lanes, see `Code.arithmetics`.
    """

    Ti: int
    C: int
    E: int
    layers: tuple[LayerPlan, ...]
    memory: str = "rom"
    arithmetic: str = "plain"

    @classmethod
    def of(cls, schedule: Schedule) -> EnginePlan:
        """The engine that runs `schedule` and nothing else."""
        layer = LayerPlan(node=schedule.node.name, To=schedule.to, P=schedule.p, order=schedule.order)
        return cls(
            Ti=schedule.ti, C=schedule.to * schedule.p, E=schedule.e, memory=schedule.memory,
            arithmetic=schedule.arithmetic, layers=(layer,),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class JointPlan:
    """One joint: channels per beat n, and rows that the consumer's ring holds (0 after the last engine).

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

    def schedules(self, program: Program) -> list[Schedule]:
        """The schedule of every layer.

        Raises ValueError when the Plan does not fit `program`, naming the first thing that does not.
        """
        if self.program != program_hash(program):
            raise ValueError(f"Plan belongs to Program {self.program[:12]}…, not to {program_hash(program)[:12]}…")
        if len(self.engines) != len(program.nodes):
            raise ValueError(f"Plan must have {len(program.nodes)} engines, not {len(self.engines)}")
        if len(self.joints) != len(self.engines) + 1:
            raise ValueError(f"Plan must have {len(self.engines) + 1} joints, not {len(self.joints)}")
        for k, joint in enumerate(self.joints):
            if joint.coding not in CODINGS:
                known = " or ".join(map(repr, CODINGS))
                raise ValueError(f"Plan joint {k}: coding must be {known}, not {joint.coding!r}")
            if joint.coding != "plain" and k in (0, len(self.engines)):
                raise ValueError(f"Plan joint {k}: coding must be 'plain' outside the engines, not {joint.coding!r}")
            if joint.coding != "plain" and isinstance(program.nodes[k - 1].output, Managed):
                raise ValueError(f"Plan joint {k}: coding must be 'plain' with managed exponents, not {joint.coding!r}")
        made = []
        for engine, node, before, after in zip(
            self.engines, program.nodes, self.joints, self.joints[1:], strict=False
        ):
            names = [layer.node for layer in engine.layers]
            if names != [node.name]:
                raise ValueError(f"Plan engine must run the layer {node.name!r}, not {names}")
            layer = engine.layers[0]
            if layer.B != 1:
                raise ValueError(f"{node.name}: B must be 1, not {layer.B}")
            if engine.C != layer.To * layer.P:
                raise ValueError(f"{node.name}: C must be To·P = {layer.To * layer.P}, not {engine.C}")
            schedule = Schedule(
                node=node, ti=engine.Ti, to=layer.To, p=layer.P, e=engine.E, arithmetic=engine.arithmetic,
                order=layer.order, memory=engine.memory,
            )  # fmt: skip
            if before.depth < schedule.least_depth:
                raise ValueError(
                    f"{node.name}: ring depth must be at least {schedule.least_depth}, not {before.depth}"
                )
            if not 1 <= before.n <= node.ci:
                raise ValueError(f"{node.name}: joint n must be between 1 and {node.ci}, not {before.n}")
            if not engine.E <= after.n <= node.co:
                raise ValueError(
                    f"{node.name}: n after it must be between E = {engine.E} and {node.co}, not {after.n}"
                )
            made.append(schedule)
        return made


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
