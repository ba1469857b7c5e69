"""What would help where a model does not fit: a code of fewer bits, fewer channels, a larger board. Each was tried on the resource model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, NoReturn

import numpy as np

from organza.board import board_names, load_board
from organza.codes import CODES
from organza.codes.spec import CodeSpec, parse_spec
from organza.errors import UserError
from organza.plan import Plan
from organza.program import Program
from organza_sim.budget import NAMES, Budget, told
from organza_sim.planner import plan_program
from organza_sim.resources.model import FAMILY, Estimator, Resources
from organza_sim.sharing import least_lanes

SMALLER = ("linear:6", "linear:4", "ternary", "binary")  # codes, the most bits first


def refuse(program: Program, budget: Budget, plan: Plan, used: Resources, options: Mapping[str, Any]) -> NoReturn:
    """Raise `UserError`: which limits a Program exceeds on the fewest lanes, by how much, and three ways out."""
    over = budget.over(used)
    ways = [_fewer_bits(program, budget, options), _fewer_channels(over, used, budget), _larger_board(program, plan)]
    where = budget.name or "the budget"
    raise UserError(f"does not fit {where} even on {plan.lanes} lanes: {told(asdict(used), budget.limits)}. " + "; ".join(ways))


def with_code(program: Program, spec: CodeSpec) -> Program:
    """The same layers with their integer weights stored in another code: for its size, not for its values.

    Raises ValueError where a layer cannot have it.
    """
    nodes = []
    for node in program.nodes:
        weights = node.code.integers().astype(np.float64)
        code, _ = CODES[spec.kind].encode(weights, node.groups, np.ones(node.ci), **spec.options)
        nodes.append(replace(node, code=code))
    return Program(tuple(nodes))


def _coded(program: Program) -> Iterator[tuple[str, Program]]:
    """The Program in each code of `SMALLER` that stores fewer bits."""
    stored = sum(node.code.stored_bits for node in program.nodes)
    for name in SMALLER:
        try:
            made = with_code(program, parse_spec(name))
        except ValueError:
            continue
        if sum(node.code.stored_bits for node in made.nodes) < stored:
            yield name, made


def _fewer_bits(program: Program, budget: Budget, options: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in options.items() if key not in ("arithmetic", "memories")}
    for name, made in _coded(program):
        plan, estimator = plan_program(made, least_lanes(made, kept.get("shares", ())), **kept), Estimator(made)
        used = estimator.plan(plan)
        if budget.board is not None:
            used += estimator.host(budget.board, plan)
        if not budget.over(used):
            return f"fewer bits: --code {name} would fit"
    return "fewer bits: of the plain codes none is small enough by itself"


def _fewer_channels(over: Mapping[str, int], used: Resources, budget: Budget) -> str:
    """Weights, and what holds them, go with the square of the channels."""
    worst = max(getattr(used, name) / max(budget.limits[name], 1) for name in over)
    keep = math.floor(100 * math.sqrt(1 / worst))
    names = " and ".join(NAMES[name] for name in over)
    return f"fewer channels: about {keep} % of them in every layer, if {names} go with the weights (docs/compression.md, prune)"


def _larger_board(program: Program, plan: Plan) -> str:
    fits, estimator = [], Estimator(program)
    for name in board_names():
        board = load_board(name)
        if board.device.family != FAMILY:
            continue
        used = estimator.plan(plan) + estimator.host(board, plan)
        if not Budget.of_board(board, name).over(used):
            fits.append((board.device.luts, name))
    return f"a larger board: --board {min(fits)[1]} would do" if fits else "a larger board: none of those that ship is large enough"
