"""What a generator could be: codes, lanes and boards, each planned and predicted, and which of them no other one beats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from organza.board import load_board
from organza.errors import UserError
from organza.plan import Plan
from organza.program import Program
from organza_sim.budget import Budget
from organza_sim.budget_planner import plan_within
from organza_sim.energy import program_energy
from organza_sim.planner import plan_program
from organza_sim.report import NOMINAL_CLOCK
from organza_sim.resources.model import Estimator, Resources
from organza_sim.sharing import least_lanes

AXES = {"luts": "LUTs", "ram_bits": "block RAM, bits", "energy_uj": "energy of an image, µJ"}  # what less of is better
BLOCK_RAM_BITS = 18_432

Say = Callable[[str, float], None]


@dataclass(frozen=True)
class Point:
    """A design that was planned.

    engines : one a layer, or fewer where layers share one. board : whose budgets it keeps to, host included; empty for one that is given by its lanes alone, at a nominal clock. ram_bits : of the block
    RAMs that it takes. energy_uj : of an image, a 45 nm process. stored_bits : of the model. front : axes of `AXES` on which no other design
    for the same board, or for none, is both faster and smaller: clocks differ from board to board.
    """

    code: str
    board: str
    lanes: int
    engines: int
    images_per_second: float
    interval: int
    cycles: int
    luts: int
    multipliers: int
    block_rams: int
    ram_bits: int
    energy_uj: float
    stored_bits: int
    binds: str = ""
    front: tuple[str, ...] = ()

    def report(self) -> dict[str, Any]:
        """For `report.json`."""
        return {**asdict(self), "front": list(self.front)}


@dataclass(frozen=True)
class Misfit:
    """A code on a board that it does not fit, and why."""

    code: str
    board: str
    reason: str


def explore(
    programs: Mapping[str, Program], lanes: Sequence[int], boards: Sequence[str], *, say: Say = lambda what, done: None
) -> tuple[list[Point], list[Misfit]]:
    """Designs of all Programs, by the names of their codes, with each number of lanes, and the fastest on each board; what does not fit.

    Numbers of lanes below what a Program needs, and above what it can use, are left out. Raises `UserError` for an unknown board or one
    without a resource model.
    """
    budgets = {name: Budget.of_board(load_board(name), name) for name in boards}
    points, misfits, done = [], [], 0
    total = len(programs) * (len(lanes) + len(budgets))
    for code, program in programs.items():
        estimator, seen = Estimator(program), set()
        for count in lanes:
            say(f"{code} on {count} lanes", done / total)
            done += 1
            if count < least_lanes(program):
                continue
            plan = plan_program(program, count)
            if plan.lanes not in seen:
                seen.add(plan.lanes)
                points.append(_point(code, "", program, plan, estimator.plan(plan), NOMINAL_CLOCK / plan.interval))
        for name, budget in budgets.items():
            say(f"{code} on {name}", done / total)
            done += 1
            try:
                made = plan_within(program, budget, estimator=estimator)
            except UserError as error:
                misfits.append(Misfit(code, name, str(error)))
                continue
            points.append(_point(code, name, program, made.plan, made.used, made.images_per_second, made.binds))
    return with_fronts(points), misfits


def _point(code: str, board: str, program: Program, plan: Plan, used: Resources, rate: float, binds: str = "") -> Point:
    return Point(
        code=code, board=board, lanes=plan.lanes, engines=len(plan.engines), images_per_second=round(rate, 1), interval=plan.interval, cycles=plan.cycles,
        **asdict(used), ram_bits=used.block_rams * BLOCK_RAM_BITS,
        energy_uj=round(sum(energy.total for energy in program_energy(program, plan)), 4),
        stored_bits=sum(node.stored_bits for node in program.nodes), binds=binds,
    )  # fmt: skip


def front(points: Iterable[Point], axis: str) -> list[Point]:
    """Points that no other one beats in both images a second and the axis, the slowest first."""
    made: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.images_per_second, getattr(point, axis))):
        if not made or getattr(point, axis) < getattr(made[-1], axis):
            made.append(point)
    return made[::-1]


def with_fronts(points: list[Point]) -> list[Point]:
    """The same points, which know of which fronts they are."""
    boards = {point.board for point in points}
    best = {
        axis: {id(point) for board in boards for point in front((point for point in points if point.board == board), axis)} for axis in AXES
    }
    return [replace(point, front=tuple(axis for axis in AXES if id(point) in best[axis])) for point in points]
