"""Tests that are repeated with other numbers."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_now(values: Iterable[Any], count: int) -> list[Any]:
    """Parameters of which `make test` runs the first `count`, and `make test-full` all."""
    values = list(values)
    return values[:count] + [pytest.param(value, marks=pytest.mark.full) for value in values[count:]]
