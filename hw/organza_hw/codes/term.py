"""What the lanes make of activations and fields."""

from abc import ABC, abstractmethod
from typing import Any

from organza.schedule import Schedule
from organza_hw.lanes.dot import DotLanes, add_tree, register
from organza_hw.orders import Tables, finish_latency


class Term(ABC):
    """Arithmetic of the lanes for one code.

    lanes : Component that makes sums of it. kind, arithmetic : the code's, see `Code.arithmetics`. field_shape : amaranth
        Shape of a field, as wide as the code's fields.
    fraction, offset : a sum counts ``(sum of products << fraction) - offset * sum of activations``.
    more_latency : cycles that `dots` takes beyond those of a product and an adder tree.
    """

    kind: str
    arithmetic = "plain"
    lanes = DotLanes
    fraction = 0
    offset = 0
    more_latency = 0

    def latency(self, ti) -> int:
        """Cycles from operands to sums of Ti terms."""
        return self.lanes.latency(ti) + self.more_latency

    @abstractmethod
    def product(self, m, activation, field) -> Any:
        """Exact value of one lane."""

    def dots(self, m, activations, words, *, exists, instances) -> list:
        """Sums of To `words` of Ti fields with the same Ti `activations`, after `latency` cycles: exact, or as the code has it.

        exists : 0 where the sums must be 0, and so is every activation. instances : may use cells that only Verilog knows.
        """
        shared = 0
        if self.offset:
            shared = add_tree(m, [register(m, activation) for activation in activations]) * self.offset
        made = []
        for word in words:
            pairs = zip(activations, word, strict=True)
            products = [register(m, self.product(m, activation, field)) for activation, field in pairs]
            made.append((add_tree(m, products) << self.fraction) - shared)
        return made

    def accumulators(self, tables: Tables, **options) -> Any:
        """Component that adds up what the lanes make of the issues, see `Accumulators`."""
        return tables.accumulators(**options)

    def drain_latency(self, schedule: Schedule) -> int:
        """Cycles from what the lanes make of the last issue of an output unit to its last E sums."""
        return finish_latency(schedule)
