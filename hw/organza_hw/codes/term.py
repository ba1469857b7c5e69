"""What the lanes make of activations and fields."""

from abc import ABC, abstractmethod
from typing import Any

from organza.schedule import Schedule
from organza_hw.lanes.dot import DotLanes, add_tree, register
from organza_hw.orders import Tables, finish_latency
from organza_hw.rom import Registers

OFFSET_LATENCY = 2  # to multiply what all sums have in common, and to subtract it


class Term(ABC):
    """Arithmetic of the lanes for one code.

    lanes : Component that makes sums of it. kind, arithmetic : the code's, see `Code.arithmetics`. field_shape : amaranth
        Shape of a field, as wide as the code's fields.
    fraction, offset : a sum counts ``(sum of products << fraction) - offset * sum of activations``.
    product_latency : cycles of a product. more_latency : cycles that `dots` takes beyond those of products and adder tree.
    late : registers between products and the tree, for multipliers that lie far from it; where products are added as they are.
    short : whether the pipeline is, see `organza.time_sharing`.
    """

    kind: str
    field_shape: Any
    arithmetic = "plain"
    lanes = DotLanes
    fraction = 0
    offset = 0
    product_latency = 1
    more_latency = 0
    late = 0
    short = False

    def latency(self, ti) -> int:
        """Cycles from operands to sums of Ti terms."""
        return self.lanes.latency(ti) + self.product_latency - 1 + self.late + self.more_latency + OFFSET_LATENCY * bool(self.offset)

    def loaded(self, *, file) -> list[Registers]:
        """Registers of what is otherwise in the logic of lanes and accumulators made after this call: of weights that are loaded.

        file : prefix of their names, or None.
        """
        return []

    @abstractmethod
    def product(self, m, activation, field, *, instances=False) -> Any:
        """Exact value of one lane, `product_latency` cycles later.

        instances : may use cells that only Verilog knows.
        """

    def dots(self, m, activations, words, *, exists, instances) -> list:
        """Sums of To `words` of Ti fields with the same Ti `activations`, after `latency` cycles: exact, or as the code has it.

        exists : 0 where the sums must be 0, and so is every activation. instances : may use cells that only Verilog knows.
        """
        made = []
        for word in words:
            pairs = zip(activations, word, strict=True)
            products = [
                register(m, self.product(m, activation, field, instances=instances), stages=self.late, reset=False) for activation, field in pairs
            ]
            made.append(add_tree(m, products) << self.fraction)
        if not self.offset:
            return made
        together = add_tree(m, [register(m, activation, stages=self.product_latency + self.late) for activation in activations])
        shared = register(m, together * self.offset)
        return [register(m, register(m, total) - shared) for total in made]

    def accumulators(self, tables: Tables, **options) -> Any:
        """Component that adds up what the lanes make of the issues, see `Accumulators`."""
        return tables.accumulators(**options)

    def drain_latency(self, schedule: Schedule) -> int:
        """Cycles from what the lanes make of the last issue of an output unit to its last E sums."""
        return finish_latency(schedule)
