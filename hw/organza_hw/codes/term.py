"""What a lane makes of an activation and a field."""

from abc import ABC, abstractmethod
from typing import Any

from organza_hw.lanes.dot import DotLanes


class Term(ABC):
    """Arithmetic of one lane for one code.

    lanes : Component that makes sums of it. kind, arithmetic : the code's, see `Code.arithmetics`. field_shape : amaranth Shape of a field, as wide as the
        code's fields.
    fraction, offset : a sum counts ``(sum of products << fraction) - offset * sum of activations``.
    """

    kind: str
    arithmetic = "plain"
    lanes = DotLanes
    fraction = 0
    offset = 0

    @abstractmethod
    def product(self, m, activation, field) -> Any:
        """Exact value of one lane."""
