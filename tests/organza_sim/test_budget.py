"""Budgets: what a board gives, what options narrow, what is refused."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from organza.board import load_board
from organza.errors import UserError
from organza_sim.budget import Budget, told, traffic_bits
from organza_sim.resources.model import Resources
from tests.tiny import tiny_program


def test_a_board_gives_its_numbers_and_options_narrow_them() -> None:
    board = load_board("ulx3s-25f")
    whole = Budget.of_board(board, "ulx3s-25f")
    assert whole.limits == {"luts": 24_288, "multipliers": 28, "block_rams": 56} and whole.clock_hz == board.core_hz
    narrow = Budget.of_board(board, "ulx3s-25f", luts=9000, multipliers=1000, lanes=12, bandwidth=None)
    assert narrow.limits == {"luts": 9000, "multipliers": 28, "block_rams": 56} and narrow.lanes == 12 and narrow.bandwidth is None


def test_over() -> None:
    budget = Budget(luts=100, block_rams=2)
    used = Resources(luts=150, multipliers=9, block_rams=2)
    assert budget.over(used) == {"luts": 50}
    assert told(asdict(used), budget.limits) == "150 LUTs of 100 (50 too many)"


def test_bandwidth_is_that_of_inputs_and_outputs() -> None:
    program = tiny_program()
    assert traffic_bits(program) == 8 * (4 + 36)
    assert Budget(bandwidth=1e6, clock_hz=1e8).least_interval(program) == 320 * 100
    assert Budget(bandwidth=3e6, clock_hz=1e8).least_interval(program) == 10_667
    assert Budget(lanes=3).least_interval(program) == 0


@pytest.mark.parametrize(
    "error, message, limits",
    [
        (ValueError, "must have a limit", {}),
        (ValueError, "Budget lanes must be between -", {"lanes": 1 << 40}),
        (TypeError, "Budget luts must be an integer", {"luts": 1.5}),
        (ValueError, "Budget multipliers must be between 0", {"multipliers": -1}),
        (ValueError, "Budget bandwidth must be above 0", {"bandwidth": 0.0}),
        (ValueError, "Budget bandwidth must be above 0", {"bandwidth": float("nan")}),
    ],
)
def test_what_is_refused(error: type[Exception], message: str, limits: dict) -> None:
    with pytest.raises(error, match=message):
        Budget(**limits)


def test_a_family_without_a_model_is_refused() -> None:
    with pytest.raises(UserError, match="icebreaker: resources are modelled for the family ecp5, not ice40; plan with --lanes"):
        Budget.of_board(load_board("icebreaker"), "icebreaker")
