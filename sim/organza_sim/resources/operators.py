"""Operators of a netlist, on literals of `Gates`, lowest bit first."""

from __future__ import annotations

from collections.abc import Sequence

from organza_sim.resources.arithmetic import Arithmetic
from organza_sim.resources.gates import FALSE, TRUE, Gates


def operate(arithmetic: Arithmetic, op: str, parts: Sequence[list[int]]) -> list[int]:
    """An operator as Amaranth's netlist names it, of its operands."""
    gates = arithmetic.gates
    if op == "m":
        select, yes, no = parts
        return [gates.choose(select[0], a, b) for a, b in zip(yes, no, strict=True)]
    if len(parts) == 1:
        return _of_one(arithmetic, op, parts[0])
    a, b = parts
    if op in "&|^":
        of = {"&": gates.both, "|": gates.either, "^": gates.differ}[op]
        return [of(x, y) for x, y in zip(a, b, strict=True)]
    if op == "+":
        return arithmetic.sum(a, b, FALSE)
    if op == "-":
        return arithmetic.sum(a, [literal ^ 1 for literal in b], TRUE)
    if op in ("==", "!="):
        same = gates.all(gates.differ(x, y) ^ 1 for x, y in zip(a, b, strict=True))
        return [same ^ (op == "!=")]
    if op in ("<<", "u>>", "s>>"):
        return arithmetic.shift(op, a, b)
    if op == "*":
        return arithmetic.product(a, b)
    return [arithmetic.less(op, a, b)]


def _of_one(arithmetic: Arithmetic, op: str, a: list[int]) -> list[int]:
    gates = arithmetic.gates
    if op == "~":
        return [literal ^ 1 for literal in a]
    if op == "-":
        return arithmetic.sum([FALSE] * len(a), [literal ^ 1 for literal in a], TRUE)
    if op == "r&":
        return [gates.all(a)]
    if op == "r^":
        made = FALSE
        for literal in a:
            made = gates.differ(made, literal)
        return [made]
    return [gates.any(a)]


def part(gates: Gates, value: list[int], offset: list[int], width: int, stride: int, *, signed: bool) -> list[int]:
    """`width` bits of a value from bit `offset` · `stride` on; behind its end there is its sign, or nothing."""
    fill = value[-1] if signed else FALSE
    places = min(1 << len(offset), -(-len(value) // stride))
    return [
        gates.pick(offset, [value[at] if (at := place * stride + bit) < len(value) else fill for place in range(places)])
        for bit in range(width)
    ]  # fmt: skip


def matches(gates: Gates, value: list[int], patterns: Sequence[str]) -> int:
    """Whether a value is like one of the patterns of 0, 1 and -, which match either."""
    made = [
        gates.all(literal ^ (bit == "0") for literal, bit in zip(reversed(value), pattern, strict=True) if bit != "-")
        for pattern in patterns
    ]
    return gates.any(made)


def first_of(gates: Gates, enable: int, inputs: Sequence[int]) -> list[int]:
    """The first of the inputs that is 1, alone; none without `enable`."""
    left, made = enable, []
    for literal in inputs:
        made.append(gates.both(left, literal))
        left = gates.both(left, literal ^ 1)
    return made
