"""LUTs, multipliers and block RAMs of an accelerator, engine by engine.

Multipliers and block RAMs are counted (`organza_sim.resources.synthesis`). LUTs are a sum of what was counted, each times a coefficient that was
fitted to recorded synthesis runs: `python -m organza_sim.resources.fit` writes `ecp5.json` here, and what it is wrong by to
docs/results/resource_model.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from amaranth.lib import wiring

from organza.board import Board
from organza.plan import JointPlan, Plan
from organza.program import Program
from organza_hw.boards.top import BoardTop
from organza_hw.build import TOP
from organza_hw.external.memory import external_works
from organza_hw.generator import Generator
from organza_hw.looked_at import only_looked_at
from organza_hw.pipeline import Pipeline
from organza_sim.resources.contents import Contents
from organza_sim.resources.synthesis import contents

FAMILY = "ecp5"
FEATURES = ("luts", "rom_luts", "short", "pairs", "chains", "lut_rams")  # of `Contents`, and one for each accelerator
COEFFICIENTS = Path(__file__).with_name(f"{FAMILY}.json")


@dataclass(frozen=True)
class Resources:
    """What is taken of a device."""

    luts: int = 0
    multipliers: int = 0
    block_rams: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.luts + other.luts, self.multipliers + other.multipliers, self.block_rams + other.block_rams)


def features(found: Contents) -> list[float]:
    """What the LUTs of a component are a sum of."""
    return [float(getattr(found, name)) for name in FEATURES]


@cache
def coefficients() -> tuple[float, ...]:
    """LUTs for one of each of `features`, and for an accelerator as such."""
    return tuple(json.loads(COEFFICIENTS.read_text())["coefficients"])


def resources_of(found: Contents) -> Resources:
    """What a part of an accelerator takes."""
    luts = sum(k * x for k, x in zip(coefficients(), features(found), strict=False))
    return Resources(round(luts), found.multipliers, found.block_rams)


class Estimator:
    """Resources of Plans for one Program; engines that occur again are looked up.

    An engine is whatever `Pipeline` makes of an entry of a Plan, so another kind of engine needs nothing here.
    """

    def __init__(self, program: Program):
        self.program = program
        self._known: dict[object, Contents] = {}

    def parts(self, plan: Plan) -> list[Contents]:
        """Contents of every engine, with the coder of the joint in front of it. Raises ValueError when the Plan does not fit the Program."""
        plan.schedules(self.program)  # refuses before there are components, which Amaranth would report as unused
        keys = [
            (number, engine, before, after.n)
            for number, (engine, before, after) in enumerate(zip(plan.engines, plan.joints, plan.joints[1:], strict=False))
        ]
        if any(key not in self._known for key in keys):
            with only_looked_at():
                self._look(plan, keys)
        return [self._known[key] for key in keys]

    def _look(self, plan: Plan, keys: Sequence[tuple[object, ...]]) -> None:
        pipeline = Pipeline(self.program, plan)
        for number, (key, engine) in enumerate(zip(keys, pipeline.engines, strict=True)):
            if key not in self._known:
                found = contents(engine, {rom.file: (rom.width, rom.words) for rom in engine.roms if rom.file})
                for coder in pipeline.coders.get(number, ()):
                    found = found + contents(coder, {})
                self._known[key] = found

    def engines(self, plan: Plan) -> list[Resources]:
        """Resources of every engine."""
        return [resources_of(found) for found in self.parts(plan)]

    def plan(self, plan: Plan) -> Resources:
        """Resources of the accelerator, without what is around it on a board."""
        return sum(self.engines(plan), Resources(round(coefficients()[-1])))

    def host(self, board: Board, plan: Plan) -> Resources:
        """Resources of a board's top module without the accelerator: serial line, memory of an input, latents.

        Raises ValueError where the top module cannot be made.
        """
        ends: tuple[JointPlan, JointPlan] = plan.joints[0], plan.joints[-1]
        beside = [(k, work.words, work.word_bits) for k, work in external_works(self.program, plan).items()]
        key = (board.title, board.core_hz, ends[0].n, ends[1].n, *beside)
        if key not in self._known:
            around: wiring.Component = BoardTop(board, self.program, plan, Generator(self.program, plan, TOP))
            self._known[key] = contents(around, {})
        return resources_of(self._known[key])
