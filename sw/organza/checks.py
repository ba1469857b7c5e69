"""Checks of numbers that users or files give."""

from __future__ import annotations


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """`value` if it is an integer within low…high; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}")
    return value
