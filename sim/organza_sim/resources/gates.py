"""A netlist of gates in which equal gates are one and constants have vanished, as synthesis leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# A literal is twice the number of a node, and 1 more where it is inverted. Node 0 is the constant.
FALSE, TRUE = 0, 1
LUT_INPUTS = 4
CUTS = 5  # that are remembered of a node
SOURCE, AND, XOR, MUX = range(4)


def inverted(literal: int) -> int:
    """Not."""
    return literal ^ 1


class Gates:
    """And, exclusive or and multiplexer nodes over sources; inverters cost nothing.

    kinds, inputs : by node. Inputs of a node have smaller numbers.
    """

    def __init__(self) -> None:
        self.kinds: list[int] = [SOURCE]
        self.inputs: list[tuple[int, ...]] = [()]
        self._known: dict[tuple[int, ...], int] = {}
        self._selects: dict[int, int] = {}  # of and nodes that a choice with a constant became: the input that selects

    def source(self) -> int:
        """A value from outside: a register, a memory, a multiplier, a carry chain, a port."""
        self.kinds.append(SOURCE)
        self.inputs.append(())
        return 2 * len(self.kinds) - 2

    def _node(self, kind: int, *inputs: int) -> int:
        key = (kind, *inputs)
        found = self._known.get(key)
        if found is None:
            self.kinds.append(kind)
            self.inputs.append(inputs)
            found = self._known[key] = 2 * len(self.kinds) - 2
        return found

    def both(self, a: int, b: int) -> int:
        """And."""
        if a > b:
            a, b = b, a
        if a == FALSE or a == b ^ 1:
            return FALSE
        return b if a in (TRUE, b) else self._node(AND, a, b)

    def either(self, a: int, b: int) -> int:
        """Or."""
        return self.both(a ^ 1, b ^ 1) ^ 1

    def differ(self, a: int, b: int) -> int:
        """Exclusive or."""
        invert = (a ^ b) & 1
        a, b = a & ~1, b & ~1
        if a > b:
            a, b = b, a
        if a == FALSE or a == b:
            return (FALSE if a == b else b) ^ invert
        return self._node(XOR, a, b) ^ invert

    def choose(self, select: int, yes: int, no: int) -> int:
        """`yes` if `select`, else `no`."""
        if select & 1:
            select, yes, no = select ^ 1, no, yes
        if select == FALSE:
            return no
        if yes == no:
            return yes
        if yes < 2 or yes >> 1 == select >> 1:
            return self._chosen_or(select ^ 1, no, int(yes in (TRUE, select)))
        if no < 2 or no >> 1 == select >> 1:
            return self._chosen_or(select, yes, int(no not in (FALSE, select)))
        if yes == no ^ 1:
            return self.differ(select, no)
        invert = no & 1
        return self._node(MUX, select, yes ^ invert, no ^ invert) ^ invert

    def _chosen_or(self, select: int, literal: int, constant: int) -> int:
        """`literal` if `select`, else a constant."""
        made = self.both(select, literal ^ constant)
        if self.kinds[made >> 1] == AND:
            self._selects[made >> 1] = select
        return made ^ constant

    def choice(self, literal: int) -> tuple[int, int, int] | None:
        """What chooses, if it is 1 and if it is 0, where `literal` is a choice; one of both may be constant."""
        node, invert = literal >> 1, literal & 1
        if self.kinds[node] == MUX:
            select, yes, no = self.inputs[node]
            return select, yes ^ invert, no ^ invert
        select = self._selects.get(node)
        if select is None:
            return None
        a, b = self.inputs[node]
        return select, (b if a == select else a) ^ invert, FALSE ^ invert

    def all(self, literals: Iterable[int]) -> int:
        """And of any number, as a tree."""
        return self._tree(self.both, list(literals), TRUE)

    def any(self, literals: Iterable[int]) -> int:
        """Or of any number, as a tree."""
        return self._tree(self.either, list(literals), FALSE)

    @staticmethod
    def _tree(of, literals: list[int], none: int) -> int:
        while len(literals) > 1:
            literals = [of(*literals[k : k + 2]) if k + 1 < len(literals) else literals[k] for k in range(0, len(literals), 2)]
        return literals[0] if literals else none

    def pick(self, index: Sequence[int], values: list[int]) -> int:
        """The one of `values` at `index`, lowest bit first; those that are missing do not matter."""
        for bit in index:
            if len(values) == 1:
                break
            pairs = [values[k : k + 2] for k in range(0, len(values), 2)]
            values = [self.choose(bit, pair[1], pair[0]) if len(pair) > 1 else pair[0] for pair in pairs]
        return values[0]

    def given(self, literal: int, source: int, value: int, depth: int = 6) -> int | None:
        """The constant that `literal` is if `source` has a value, as far as nodes up to `depth` tell; None if it is none."""
        invert, node = literal & 1, literal >> 1
        kind = self.kinds[node]
        if node == 0 or literal & ~1 == source:
            return invert ^ (value if node else FALSE)
        if kind == SOURCE or depth == 0:
            return None
        parts = [self.given(part, source, value, depth - 1) for part in self.inputs[node]]
        if kind == AND and FALSE in parts:
            return FALSE ^ invert
        if kind == MUX and parts[0] is not None:
            chosen = parts[1] if parts[0] else parts[2]
            return None if chosen is None else chosen ^ invert
        if kind == MUX:
            return None if parts[1] is None or parts[1] != parts[2] else parts[1] ^ invert
        a, b = parts
        if a is None or b is None:
            return None
        return (a & b if kind == AND else a ^ b) ^ invert

    def luts(self, roots: Iterable[int]) -> int:
        """LUTs of four inputs for what `roots` need, after the cuts of each node that cost least (area flow)."""
        uses = self._uses(roots)
        cuts: dict[int, list[frozenset[int]]] = {}  # of each node, the best first
        flow: dict[int, float] = {}
        for node in sorted(uses):
            ways: list[frozenset[int]] = [frozenset()]
            for literal in self.inputs[node]:
                child = literal >> 1
                own = [frozenset((child,))] if child else [frozenset()]
                below = cuts[child] if child in cuts else []
                ways = list({one | other for one in ways for other in (*own, *below) if len(one | other) <= LUT_INPUTS})
            priced = sorted(((sum(flow.get(leaf, 0.0) for leaf in cut), len(cut), cut) for cut in ways), key=lambda made: made[:2]) if len(ways) > 1 else None
            if priced:
                cuts[node] = [cut for _, _, cut in priced[:CUTS]]
                cost = priced[0][0]
            else:
                cuts[node] = ways
                cost = sum(flow.get(leaf, 0.0) for leaf in ways[0])
            flow[node] = (1 + cost) / max(uses[node], 1)
        return self._chosen(roots, cuts)

    def _uses(self, roots: Iterable[int]) -> dict[int, int]:
        """How often each node that `roots` need is used."""
        uses = {literal >> 1: 1 for literal in roots if self.kinds[literal >> 1] != SOURCE}
        stack = list(uses)
        while stack:
            for literal in self.inputs[stack.pop()]:
                node = literal >> 1
                if self.kinds[node] == SOURCE:
                    continue
                if node not in uses:
                    stack.append(node)
                    uses[node] = 0
                uses[node] += 1
        return uses

    def _chosen(self, roots: Iterable[int], cuts: dict[int, list[frozenset[int]]]) -> int:
        made = {literal >> 1 for literal in roots if literal >> 1 in cuts}
        stack = list(made)
        while stack:
            for leaf in cuts[stack.pop()][0]:
                if leaf in cuts and leaf not in made:
                    made.add(leaf)
                    stack.append(leaf)
        return len(made)
