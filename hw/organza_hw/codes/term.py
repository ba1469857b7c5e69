"""What a lane makes of an activation and a field."""

from abc import ABC, abstractmethod


class Term(ABC):
    """Arithmetic of one lane for one code.

    kind : the code's. field_shape : amaranth Shape of a field, as wide as the code's fields.
    fraction, offset : a sum counts ``(sum of products << fraction) - offset * sum of activations``.
    """

    kind: str
    fraction = 0
    offset = 0

    @abstractmethod
    def product(self, m, activation, field):
        """Exact value of one lane."""
