"""Checks of the options that recipes give to coders."""

from __future__ import annotations


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """`value` if it is one of `choices`; ValueError that lists them otherwise."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """`value` if it is an integer within low…high; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}")
    return value


def check_number(name: str, value: object, low: float, high: float) -> float:
    """`value` if it is a number within low…high; TypeError or ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, not {value:g}")
    return float(value)


def check_flag(name: str, value: object) -> bool:
    """`value` if it is true or false; TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be true or false, not {value!r}")
    return value
