"""Checks of the options that recipes give to coders."""

from __future__ import annotations

from organza.checks import check_integer

__all__ = ["check_choice", "check_flag", "check_integer", "check_number"]


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """`value` if it is one of `choices`; ValueError that lists them otherwise."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


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
