"""Approximate adders and sums once more, bit by bit in plain Python: nothing of `organza.adders` is used."""

from __future__ import annotations


def bits_of(value: int, width: int) -> list[int]:
    """Two's complement, lowest bit first."""
    return [value >> place & 1 for place in range(width)]


def value_of(bits: list[int], signed: bool) -> int:
    """Inverse of `bits_of`."""
    total = sum(bit << place for place, bit in enumerate(bits))
    return total - (1 << len(bits)) if signed and bits[-1] else total


def add(kind: str, low: int, a: int, b: int, width: int, signed: bool) -> int:
    """a + b of `width` bits each in a result of one more: full adders from the lowest place up."""
    left, right = bits_of(a, width + 1), bits_of(b, width + 1)
    carry, made = 0, []
    for place, (p, q) in enumerate(zip(left, right, strict=True)):
        if kind == "loa" and place < low:
            made.append(1 if p or q else 0)
            carry = 1 if p and q else 0  # only the one out of place low - 1 goes anywhere
            continue
        total = p + q + carry
        carry = 1 if total >= 2 else 0
        made.append(1 - carry if kind == "notcarry" and place < low else total % 2)
    return value_of(made, signed)


def tree(kind: str, low: int, terms: list[tuple[int, int]], signed: bool) -> int:
    """Sum of terms (value, width): neighbours on every level, the last of an odd number goes up as it is."""
    while len(terms) > 1:
        above = []
        for k in range(0, len(terms) - 1, 2):
            width = max(terms[k][1], terms[k + 1][1])
            above.append((add(kind, low, terms[k][0], terms[k + 1][0], width, signed), width + 1))
        if len(terms) % 2:
            above.append(terms[-1])
        terms = above
    return terms[0][0]


def issue(kind: str, low: int, activations: list[int], fields: list[int], bits: int, signed: bool) -> int:
    """What Ti binary lanes make of an issue: activations of `bits`, fields 1 for -1."""
    pairs = list(zip(activations, fields, strict=True))
    if kind == "loa":
        return sum(activations) - 2 * tree(kind, low, [(a if f else 0, bits) for a, f in pairs], signed)
    return tree(kind, low, [(-a - 1 if f else a, bits + (not signed)) for a, f in pairs], True) + sum(fields)
