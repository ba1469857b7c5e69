"""What does not fit is refused with what is exceeded, by how much, and three ways out that are true."""

from __future__ import annotations

import re

import pytest

import organza
from organza.board import load_board
from organza.codes.spec import parse_spec
from organza.errors import UserError
from organza.quality import CHECKPOINT, calibration_latents
from organza_sim.budget import Budget
from organza_sim.budget_planner import plan_within
from organza_sim.planner import plan_program
from organza_sim.resources.model import Estimator
from organza_sim.sharing import least_lanes
from organza_sim.ways_out import with_code
from tests.tiny import tiny_program


@pytest.mark.full
def test_the_shipped_generator_on_the_small_board() -> None:
    """60 block RAMs of 56 on the fewest lanes; with 6 bits it fits, on the board with the larger device too."""
    program = organza.lower(CHECKPOINT, calibration_latents(64))
    board = load_board("ulx3s-25f")
    budget = Budget.of_board(board, "ulx3s-25f")
    with pytest.raises(UserError) as error:
        plan_within(program, budget)
    text = str(error.value)
    found = re.fullmatch(
        r"does not fit ulx3s-25f even on 4 lanes: (\d+) block RAMs of 56 \((\d+) too many\)\. fewer bits: --code (\S+) would fit; "
        r"fewer channels: about (\d+) % of them .*; a larger board: --board (\S+) would do",
        text,
    )
    assert found, text
    assert int(found[1]) == 56 + int(found[2]) and 56 / int(found[1]) == pytest.approx((int(found[4]) / 100) ** 2, abs=0.03)
    smaller = with_code(program, parse_spec(found[3]))
    plan = plan_program(smaller, least_lanes(smaller))
    estimator = Estimator(smaller)
    assert not budget.over(estimator.plan(plan) + estimator.host(board, plan))
    larger = load_board(found[5])
    plan, estimator = plan_program(program, least_lanes(program)), Estimator(program)
    assert not Budget.of_board(larger, found[5]).over(estimator.plan(plan) + estimator.host(larger, plan))


def test_what_no_code_helps() -> None:
    with pytest.raises(UserError, match=r"does not fit the budget even on 2 lanes: [\d,]+ LUTs of 500 \([\d,]+ too many\)\. fewer bits: of the plain"):
        plan_within(tiny_program(), Budget(luts=500))


def test_with_code_changes_nothing_but_the_code() -> None:
    program = tiny_program()
    ternary = with_code(program, parse_spec("ternary"))
    assert [node.code.kind for node in ternary.nodes] == ["ternary", "ternary"]
    assert [node.code.shape for node in ternary.nodes] == [node.code.shape for node in program.nodes]
    assert ternary.input_shape == program.input_shape and ternary.output_shape == program.output_shape
