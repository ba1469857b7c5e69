"""Tests that are repeated with other numbers."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_now(values: Iterable[Any], count: int) -> list[Any]:
    """Parameters, several in a tuple, of which `make test` runs the first `count`, and `make test-full` all."""
    values = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*value, marks=() if place < count else pytest.mark.full) for place, value in enumerate(values)]
