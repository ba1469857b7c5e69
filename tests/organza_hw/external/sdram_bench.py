"""What a controller's pins do to the chip model, with the registers of the pads between them, and traffic on its streams."""

from __future__ import annotations

from typing import Any

from organza.board import Memory, load_board
from organza_hw.external.sdram import Order, Sdram
from organza_hw.external.sdram_timing import ROUND_TRIP
from organza_sim.sdram_chip import Chip

ULX3S = load_board("ulx3s-85f").memory
assert ULX3S is not None
HZ = 125_000_000


def memory(**timing: float) -> Memory:
    """That of an ULX3S, which is soon ready, with these other times."""
    assert ULX3S is not None and ULX3S.timing is not None
    return ULX3S.model_copy(update={"timing": ULX3S.timing.model_copy(update={"initialization": 1000.0, **timing})})


class Pads:
    """`edge` once a cycle with what was sampled at the clock's edge; what the controller then has at `dq_i`. pins : of what the controller is in."""

    def __init__(self, chip: Chip, controller: Sdram, hz: int = HZ, delay: float = ROUND_TRIP, pins: Any = None):
        self.chip, self.period, self.delay = chip, 1e9 / hz, delay
        self.early = 0.5 if controller.cycles.falling else 0.0
        self.number = 0
        self.orders: list[Order] = []
        self.signals: list[Any] = [getattr(pins or controller.pins, name) for name in ("cke", "order", "ba", "a", "dqm", "dq_o", "dq_oe")]

    def edge(self, values: Any) -> int:
        cke, order, ba, a, dqm, dq, driven = values
        come = self.chip.read((self.number - self.early) * self.period - self.delay)
        self.chip.edge((self.number + 0.5) * self.period, order.value, ba=ba, a=a, cke=cke, dqm=dqm, dq=dq if driven else None)
        self.number += 1
        self.orders.append(order)
        return come
