"""Gates against what they mean, and LUTs of functions whose number of inputs is known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organza_sim.resources.gates import AND, FALSE, MUX, SOURCE, TRUE, XOR, Gates

INPUTS = 4


def value(gates: Gates, literal: int, inputs: dict[int, int]) -> int:
    """Of a literal, for values of the sources by node."""
    node = literal >> 1
    kind = gates.kinds[node]
    if node == 0:
        made = 0
    elif kind == SOURCE:
        made = inputs[node]
    else:
        parts = [value(gates, part, inputs) for part in gates.inputs[node]]
        made = {AND: lambda a, b: a & b, XOR: lambda a, b: a ^ b, MUX: lambda s, a, b: a if s else b}[kind](*parts)
    return made ^ (literal & 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), *[st.integers(0, 200)] * 3), min_size=1, max_size=25))
def test_gates_mean_what_was_asked_for(steps: list[tuple[int, int, int, int]]) -> None:
    gates = Gates()
    sources = [gates.source() for _ in range(INPUTS)]
    literals = [FALSE, TRUE, *sources]
    tables = [lambda x: 0, lambda x: 1, *(lambda x, k=k: x[k] for k in range(INPUTS))]
    for kind, *picks in steps:
        a, b, c = (pick // 2 % len(literals) for pick in picks)
        flips = [pick & 1 for pick in picks]
        x, y, z = literals[a] ^ flips[0], literals[b] ^ flips[1], literals[c] ^ flips[2]
        literals.append([gates.both(x, y), gates.either(x, y), gates.differ(x, y), gates.choose(z, x, y)][kind])

        def of(inputs, kind=kind, a=tables[a], b=tables[b], c=tables[c], flips=flips):
            p, q, r = a(inputs) ^ flips[0], b(inputs) ^ flips[1], c(inputs) ^ flips[2]
            return [p & q, p | q, p ^ q, p if r else q][kind]

        tables.append(of)
    for inputs in itertools.product((0, 1), repeat=INPUTS):
        given = {source >> 1: bit for source, bit in zip(sources, inputs, strict=True)}
        assert [value(gates, literal, given) for literal in literals] == [table(inputs) for table in tables]
    # All of it is functions of four inputs.
    assert gates.luts(literals[-1:]) <= 1
    assert gates.luts(literals) <= len({literal >> 1 for literal in literals})


def test_equal_gates_are_one() -> None:
    gates = Gates()
    a, b, c = (gates.source() for _ in range(3))
    assert gates.both(a, b) == gates.both(b, a) and gates.differ(a ^ 1, b) == gates.differ(a, b) ^ 1
    assert gates.choose(c, a, b) == gates.choose(c ^ 1, b, a) == gates.choose(c, a ^ 1, b ^ 1) ^ 1
    assert gates.choose(c, a, a) == a and gates.choose(TRUE, a, b) == a
    assert gates.both(a, a ^ 1) == FALSE and gates.differ(a, a ^ 1) == TRUE


@pytest.mark.parametrize("count, luts", [(2, 1), (4, 1), (5, 2), (7, 2), (10, 3), (16, 5)])
def test_luts_of_a_wide_and(count: int, luts: int) -> None:
    gates = Gates()
    made = FALSE ^ 1
    for _ in range(count):
        made = gates.both(made, gates.source())
    assert gates.luts([made]) == luts


def test_a_choice_of_four_takes_three_luts_and_nothing_none() -> None:
    gates = Gates()
    index, values = [gates.source() for _ in range(2)], [gates.source() for _ in range(4)]
    chosen = gates.pick(index, values)
    assert gates.luts([chosen]) == 3  # as a tree; clever mappers make do with two
    assert gates.luts([chosen, chosen ^ 1]) == 3
    assert gates.luts([FALSE, TRUE, values[0]]) == 0
    assert gates.pick(index, [TRUE]) == TRUE


def test_what_follows_from_one_value() -> None:
    """A register that begins with 0 and gets itself or nothing stays 0."""
    gates = Gates()
    own, other = gates.source(), gates.source()
    assert gates.given(gates.both(own, other), own, 0) == 0
    assert gates.given(gates.both(own, other), own, 1) is None
    assert gates.given(gates.either(own, other), own, 1) == 1
    assert gates.given(gates.choose(other, own, FALSE), own, 0) == 0
    assert gates.given(own ^ 1, own, 0) == 1 and gates.given(other, own, 0) is None and gates.given(TRUE, own, 0) == 1
