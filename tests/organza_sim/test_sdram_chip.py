"""The SDRAM model by itself, at 100 MHz: what a data sheet allows passes, and each thing that it forbids is told."""

from __future__ import annotations

import pytest

from organza.board import load_board
from organza_sim.sdram_chip import Chip, ProtocolError

BOARD = load_board("ulx3s-85f")
PERIOD = 10.0
NOTHING, ACTIVATE, READ, WRITE, PRECHARGE, REFRESH, MODE = 7, 6, 5, 1, 2, 4, 0
ALL, CAS = 1 << 10, 3 << 4
Step = tuple[int, dict[str, int]]


def trace(*steps: Step | int) -> list[Step]:
    """Orders with their pins; a number is so many cycles without one."""
    made: list[Step] = []
    for step in steps:
        made += [(NOTHING, {})] * step if isinstance(step, int) else [step]
    return made


def initialised(refreshes: int = 8, pause: int = 20_001, gap: int = 6, mode: int = CAS) -> list[Step]:
    """Precharge, refreshes, mode."""
    return trace(pause, (PRECHARGE, {"a": ALL}), 3, *(one for _ in range(refreshes) for one in ((REFRESH, {}), gap)), (MODE, {"a": mode}), 1)


def play(*parts: list[Step]) -> Chip:
    assert BOARD.memory is not None
    chip = Chip(BOARD.memory)
    for number, (order, pins) in enumerate(one for part in parts for one in part):
        chip.edge(number * PERIOD, order, **pins)
    return chip


OPEN = trace((ACTIVATE, {"a": 5, "ba": 1}), 2)
CLOSED = trace(1, (PRECHARGE, {"a": ALL}), 2)


def test_a_word() -> None:
    """Written, read, valid from the third edge but for access to the one behind it and hold, and at no other time."""
    before = len(initialised()) + len(OPEN) + 3  # edges up to the READ, which is the last of them
    chip = play(initialised(), OPEN, trace((WRITE, {"a": 9, "ba": 1, "dq": 0xBEEF}), 1, (READ, {"a": 9, "ba": 1}), 3))
    drives = (before - 1 + 2) * PERIOD
    assert [chip.read(drives + late) == 0xBEEF for late in (5.3, 5.4, 10.0, 12.5, 12.6)] == [False, True, True, True, False]
    play(initialised(), OPEN, trace((WRITE, {"a": 9, "ba": 1, "dq": 1}), 1), CLOSED, trace((REFRESH, {}), 6), OPEN, trace((READ, {"a": 9, "ba": 1}), 1), CLOSED)


W = (WRITE, {"a": 9, "ba": 1, "dq": 1})
R = (READ, {"a": 9, "ba": 1})


@pytest.mark.parametrize("steps, rule", [
    ([initialised(pause=19_000)], "initialisation"),
    ([trace(20_001, (REFRESH, {}))], "initialisation: a refresh before all banks were precharged"),
    ([initialised(refreshes=7)], "initialisation: the mode before"),
    ([trace(20_001, (PRECHARGE, {"a": ALL}), 3, (ACTIVATE, {}))], "initialisation: a row before the mode"),
    ([initialised(gap=5)], "tRFC"),
    ([initialised(mode=2 << 4)], "mode: not bursts of one word"),
    ([initialised(mode=CAS | 3)], "mode: not bursts of one word"),
    ([initialised()[:-1], OPEN], "tMRD"),
    ([initialised(), trace(R)], "read: no row is open"),
    ([initialised(), trace(W)], "write: no row is open"),
    ([initialised(), OPEN, trace((READ, {"a": 9, "ba": 0}))], "read: no row is open"),
    ([initialised(), OPEN, trace(R)], "read: a word that was never written"),
    ([initialised(), OPEN[:-1], trace(W)], "tRCD"),
    ([initialised(), OPEN, trace(3, (ACTIVATE, {"a": 6, "ba": 1}))], "activate: a row of the bank is open"),
    ([initialised(), OPEN[:1], trace((ACTIVATE, {"a": 6, "ba": 2}))], "tRRD"),
    ([initialised(), OPEN, trace((PRECHARGE, {"a": ALL}))], "tRAS"),
    ([initialised(), OPEN, trace(2, W, (PRECHARGE, {"a": ALL}))], "tWR"),
    ([initialised(), OPEN, trace(2, (PRECHARGE, {"a": ALL}), 1), OPEN], "tRP"),
    ([initialised(), OPEN, trace(2, (PRECHARGE, {"a": ALL}), 2, (REFRESH, {}))], None),
    ([initialised(), OPEN, trace((REFRESH, {}))], "refresh: a row is open"),
    ([initialised(), trace(1600)], "refresh: too few"),
    ([initialised(), OPEN, trace(W, R, 1, (WRITE, {"a": 8, "ba": 1, "dq": 2}))], "bus: two drive it|write: it cuts off"),
    ([initialised(), OPEN, trace(W, R, 2, (NOTHING, {"dq": 2}))], "bus: two drive it"),
    ([initialised(), OPEN, trace((WRITE, {"a": 9, "ba": 1}))], "write: nobody drives the bus"),
    ([initialised(), OPEN, trace((WRITE, {"a": 9, "ba": 1, "dq": 1, "dqm": 3}))], "write: it is masked"),
    ([initialised(), OPEN, trace((WRITE, {"a": 9 | ALL, "ba": 1, "dq": 1}))], "precharge by itself"),
    ([initialised(), OPEN, trace((WRITE, {"a": 1 << 9, "ba": 1, "dq": 1}))], "column: there is none such"),
    ([initialised(), trace((NOTHING, {"cke": 0}))], "CKE: falls"),
    ([initialised(), OPEN, trace((WRITE, {"a": 9, "ba": 1, "dq": 1, "cs": 1}), R)], "read: a word that was never written"),
])  # fmt: skip
def test_rules(steps: list[list[Step]], rule: str | None) -> None:
    if rule is None:
        play(*steps)
        return
    with pytest.raises(ProtocolError, match=rf"^at .* ns: ({rule})"):
        play(*steps)
