"""Sums, comparisons, shifts and products out of gates, carry chains and multipliers, as Yosys makes them for ECP5."""

from __future__ import annotations

from typing import Any

from organza_sim.resources.contents import Chain, Owner
from organza_sim.resources.gates import FALSE, TRUE, Gates

SHORT = 4  # bits of adders that Yosys makes of LUTs
PRODUCT_BITS = 18  # of a factor of a MULT18X18D


class Arithmetic:
    """Operators on literals of `gates`, lowest bit first; both operands have the same width.

    owners : what makes a value that no gate makes, by literal.
    """

    def __init__(self, gates: Gates):
        self.gates = gates
        self.owners: dict[int, Owner] = {}
        self._chains: dict[tuple[Any, ...], Chain] = {}
        self._products: dict[tuple[tuple[int, ...], ...], list[int]] = {}

    def own(self, owner: Owner, width: int) -> list[int]:
        """Values that `owner` makes."""
        made = [self.gates.source() for _ in range(width)]
        self.owners.update(dict.fromkeys(made, owner))
        return made

    def sum(self, a: list[int], b: list[int], carried: int) -> list[int]:
        """a + b + carried, without the lowest bits that nothing is added to."""
        low = []
        while a and ((b[0] == FALSE and carried == FALSE) or (b[0] == TRUE and carried == TRUE)):
            low.append(a[0])
            a, b = a[1:], b[1:]
        while a and a[0] == FALSE and carried == FALSE:
            low.append(b[0])
            a, b = a[1:], b[1:]
        if not a:
            return low
        # Beyond a sign there are only copies of it.
        extended = 0
        while len(a) > 2 and a[-1] == a[-2] == a[-3] and b[-1] == b[-2] == b[-3]:
            a, b, extended = a[:-1], b[:-1], extended + 1
        if all(literal < 2 for literal in (*a, *b)):
            total = sum(x << k for k, x in enumerate(a)) + sum(x << k for k, x in enumerate(b)) + carried
            made = [total >> k & 1 for k in range(len(a))]
        else:
            made = self._chain(("+", carried, *sorted((tuple(a), tuple(b)))), (*a, *b), len(a))
        return [*low, *made, *made[-1:] * extended]

    def _chain(self, key: tuple[Any, ...], operands: tuple[int, ...], width: int) -> list[int]:
        if key not in self._chains:
            chain = self._chains[key] = Chain(operands=operands)
            chain.outputs = self.own(chain, width)
        return self._chains[key].outputs

    def less(self, op: str, a: list[int], b: list[int]) -> int:
        """A comparison: "s" or "u" for signed or not, then <, <=, > or >=."""
        if op[1:] in (">", "<="):
            a, b = b, a
        invert = op[1:] in ("<=", ">=")
        if op[0] == "s":
            if all(literal == FALSE for literal in b):
                return a[-1] ^ invert
            a, b = [*a[:-1], a[-1] ^ 1], [*b[:-1], b[-1] ^ 1]
        while len(a) > 1 and a[-1] == b[-1] and a[-1] < 2:
            a, b = a[:-1], b[:-1]
        if len(a) <= SHORT:
            less = FALSE
            for x, y in zip(a, b, strict=True):
                less = self.gates.choose(self.gates.differ(x, y), y, less)
            return less ^ invert
        if all(literal == FALSE for literal in a):
            return self.gates.any(b) ^ invert
        if all(literal == FALSE for literal in b):
            return FALSE ^ invert
        return self._chain(("<", tuple(a), tuple(b)), (*a, *b), 1)[0] ^ invert

    def shift(self, op: str, a: list[int], by: list[int]) -> list[int]:
        """A shift by a variable: "<<", "u>>" or "s>>"."""
        fill = a[-1] if op == "s>>" else FALSE
        for stage, bit in enumerate(by):
            step = 1 << stage
            if bit == FALSE:
                continue
            moved = [FALSE] * step + a[:-step] if op == "<<" else a[step:] + [fill] * min(step, len(a))
            a = [self.gates.choose(bit, yes, no) for yes, no in zip(moved[: len(a)], a, strict=True)]
        return a

    def product(self, a: list[int], b: list[int]) -> list[int]:
        """Out of multipliers; a factor that is a power of two is a shift."""
        for one, other in ((a, b), (b, a)):
            if all(literal < 2 for literal in one) and one.count(TRUE) <= 1:
                at = one.index(TRUE) if TRUE in one else len(one)
                return ([FALSE] * at + other)[: len(other)]
        key = tuple(sorted((tuple(a), tuple(b))))
        if key not in self._products:
            unsigned = a[-1] == b[-1] == FALSE
            count = 1
            for part in (a, b):
                width = len(part)
                while width > 1 and part[width - 1] == part[width - 2]:
                    width -= 1
                count *= -(-max(width - unsigned, 1) // PRODUCT_BITS)
            self._products[key] = self.own(Owner([*a, *b], {"multipliers": count}), len(a))
        return self._products[key]
