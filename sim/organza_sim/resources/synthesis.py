"""From gateware to what synthesis makes of it, in a second instead of minutes: memories, multipliers, carry chains, gates.

The netlist of Amaranth's own front end is walked bit by bit from what leaves the component back to what comes in. Constants vanish, equal
gates and equal registers become one, what nothing needs is not visited; adders and comparisons of more than `SHORT` bits are carry
chains; memories are mapped by `organza_sim.resources.memories`. Enables and resets of registers cost only what makes them.

The one place here that looks into Amaranth's netlist; Amaranth is pinned below 0.6 (see `organza_hw.verilog`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Const, Fragment, ValueCastable, _nir
from amaranth.hdl._ir import PortDirection, _emit_netlist
from amaranth.lib import wiring

from organza_hw import multiply, rom
from organza_hw.lanes import carry, signs
from organza_sim.resources import memories
from organza_sim.resources.gates import FALSE, TRUE, Gates

SHORT = 4  # bits of adders that Yosys makes of LUTs
ROUNDS = 3  # in which registers can turn out to be constant
RESET = "rst"
DEPTH = 1_000_000  # of calls: a pipeline is walked from its end to its beginning
PRODUCT_BITS = 18  # of a factor of a MULT18X18D


@dataclass
class Contents:
    """What a component takes.

    luts : of gates, packed. pairs : CCU2C, of two bits each. chains : of them. short : bits of adders without a chain. registers : bits.
    multipliers, block_rams, lut_rams : cells. memories : by name what each became.
    """

    luts: int = 0
    pairs: int = 0
    chains: int = 0
    short: int = 0
    registers: int = 0
    multipliers: int = 0
    lut_rams: int = 0
    block_rams: int = 0
    memories: dict[str, memories.Mapping] = field(default_factory=dict)


def contents(component: wiring.Component, words: Mapping[str, tuple[int, list[int]]]) -> Contents:
    """What `component` takes of an ECP5.

    words : width and words of the memories that lie in files, by file name.
    """
    netlist = _netlist(component)
    known: dict[int, int] = {}
    with _deep_calls():
        for _ in range(ROUNDS):
            walk = _Walk(netlist, words, known)
            walk.run()
            if not walk.found:
                break
            known = {**known, **walk.found}
        return walk.contents()


@contextmanager
def _deep_calls() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _netlist(component: wiring.Component) -> _nir.Netlist:
    ports = []
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        if not isinstance(value, Const):
            flow = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports.append(("__".join(map(str, path)), value, flow))
    netlist = _nir.Netlist()
    _emit_netlist(netlist, Fragment.get(component, None).prepare(ports=ports, hierarchy=("top",)), all_undef_to_ff=False)
    netlist.resolve_all_nets()
    return netlist


@dataclass
class _Chain:
    """A carry chain: literals of its operands, those of its outputs, and how many lowest bits of them are needed."""

    operands: tuple[int, ...]
    outputs: list[int]
    whole: bool  # a comparison needs all bits
    used: int = 0


class _Walk:
    """One walk over the netlist; `found` are nets of registers that are constant, which it has not known."""

    def __init__(self, netlist: _nir.Netlist, words: Mapping[str, tuple[int, list[int]]], known: Mapping[int, int]):
        self.netlist, self.words, self.known = netlist, words, known
        self.gates = Gates()
        self.found: dict[int, int] = {}
        self.values: dict[int, list[int]] = {}  # by cell: literals of its outputs
        self.bits: dict[int, int] = {}  # of registers, by net
        self.open: set[int] = set()  # cells of registers that are being walked
        self.registers: dict[tuple[int, int], int] = {}  # by data and initial value
        self.chains: dict[tuple[Any, ...], _Chain] = {}
        self.sources: dict[int, _Chain | tuple[str, int]] = {}
        self.roots: set[int] = set()
        self.carry_pairs = self.carry_chains = self.lut_rams = self.block_rams = self.multipliers = 0
        self.mapped: dict[str, memories.Mapping] = {}
        self.readers: dict[int, list[int]] = {}
        self.writers: dict[int, int] = {}
        for number, cell in enumerate(netlist.cells):
            if isinstance(cell, _nir.SyncReadPort | _nir.AsyncReadPort):
                self.readers.setdefault(cell.memory, []).append(number)
            elif isinstance(cell, _nir.SyncWritePort):
                self.writers[cell.memory] = number
        self.made_memories: dict[int, list[int]] = {}
        self.pending: list[tuple[int, int]] = []  # registers whose data is needed

    def run(self) -> None:
        """Walk from the ports of the top module."""
        for value in self.netlist.top.ports_o.values():
            self.roots.update(self.value(value))

    def contents(self) -> Contents:
        """What was found."""
        roots = set(self.roots)
        short = 0
        for chain in self.chains.values():
            roots.update(chain.operands)
        made = Contents(
            luts=self.gates.luts(roots), registers=len(self.registers), multipliers=self.multipliers, lut_rams=self.lut_rams,
            block_rams=self.block_rams, memories=self.mapped, pairs=self.carry_pairs, chains=self.carry_chains,
        )  # fmt: skip
        for chain in self.chains.values():
            width = len(chain.outputs) if chain.whole else chain.used
            if width > SHORT:
                made.pairs += -(-width // 2)
                made.chains += 1
            else:
                short += width
        made.short = short
        return made

    # Values.

    def value(self, nets: Any) -> list[int]:
        """Literals of nets."""
        return [self.net(net) for net in nets]

    def net(self, net: Any) -> int:
        """The literal of a net."""
        if net < 2:
            return int(net)
        cell = self.netlist.cells[net.cell]
        if isinstance(cell, _nir.FlipFlop):
            return self._register(net, cell)
        if net.cell not in self.values:
            self.values[net.cell] = self._outputs(net.cell, cell)
        literal = self.values[net.cell][net.bit - 2 if net.cell == 0 else net.bit]
        chain = self.sources.get(literal)
        if isinstance(chain, _Chain):
            chain.used = max(chain.used, chain.outputs.index(literal) + 1)
        return literal

    def _register(self, net: Any, cell: _nir.FlipFlop) -> int:
        if net in self.known:
            return self.known[net]
        if net in self.bits:
            return self.bits[net]
        # Read while it is being walked, a register is a value of its own; otherwise it is the same as any that gets the same.
        own = self.gates.source()
        self.bits[net] = own
        data = self.net(cell.data[net.bit])
        initial = cell.init >> net.bit & 1
        if data == own or data == initial:
            self.found[net] = self.bits[net] = initial
            return initial
        plain, enable = self._enabled(data, own)
        key = (data, initial)
        if key in self.registers:
            self.bits[net] = self.registers[key]
        else:
            self.registers[key] = own
            self.roots.update(literal for literal in (plain, *enable) if literal > 1)
        return self.bits[net]

    def _enabled(self, data: int, own: int) -> tuple[int, set[int]]:
        """What a register gets when it gets something, and what its enable and reset are made of."""
        gates, controls = self.gates, set()
        kept: dict[int, tuple[int, int]] = {}

        def split(literal: int, depth: int) -> tuple[int, int]:
            """Value, or -1 for the register's own, and when there is one."""
            if literal == own:
                return -1, FALSE
            if depth == 0 or gates.kinds[literal >> 1] == 0 or gates.kinds[literal >> 1] != 3:
                return literal, TRUE
            if literal in kept:
                return kept[literal]
            select, yes, no = gates.inputs[literal >> 1]
            sign = literal & 1
            a, when_a = split(yes ^ sign, depth - 1)
            b, when_b = split(no ^ sign, depth - 1)
            if when_a == TRUE and when_b == TRUE:
                made = literal, TRUE
            else:
                made = (b if a == -1 else a if b == -1 else gates.choose(select, a, b)), gates.choose(select, when_a, when_b)
            kept[literal] = made
            return made

        value, when = split(data, 6)
        if when != TRUE:
            controls.add(when)
        node = value >> 1
        if value > 1 and gates.kinds[node] == 1 and value & 1 == 0:
            pass
        return value, controls

    # Cells.

    def _outputs(self, number: int, cell: Any) -> list[int]:
        if isinstance(cell, _nir.Top):
            made = [self.gates.source() for _ in range(sum(width for _, width in cell.ports_i.values()))]
            for name, (start, _) in cell.ports_i.items():
                if name == RESET:
                    made[start - 2] = FALSE  # registers have a reset of their own
            return made
        return getattr(self, f"_{type(cell).__name__.lower()}")(number, cell)

    def _operator(self, number: int, cell: _nir.Operator) -> list[int]:
        gates, op = self.gates, cell.operator
        if op == "m":
            select, yes, no = (self.value(part) for part in cell.inputs)
            return [gates.choose(select[0], a, b) for a, b in zip(yes, no, strict=True)]
        parts = [self.value(part) for part in cell.inputs]
        a = parts[0]
        if len(parts) == 1:
            if op == "~":
                return [literal ^ 1 for literal in a]
            if op == "-":
                return self._sum([FALSE] * len(a), [literal ^ 1 for literal in a], TRUE)
            if op == "r&":
                return [gates.all(a)]
            if op == "r^":
                made = FALSE
                for literal in a:
                    made = gates.differ(made, literal)
                return [made]
            return [gates.any(a)]
        b = parts[1]
        if op in "&|^":
            of = {"&": gates.both, "|": gates.either, "^": gates.differ}[op]
            return [of(x, y) for x, y in zip(a, b, strict=True)]
        if op == "+":
            return self._sum(a, b, FALSE)
        if op == "-":
            return self._sum(a, [literal ^ 1 for literal in b], TRUE)
        if op in ("==", "!="):
            same = gates.all(gates.differ(x, y) ^ 1 for x, y in zip(a, b, strict=True))
            return [same ^ (op == "!=")]
        if op in ("<<", "u>>", "s>>"):
            return self._shift(op, a, b)
        if op == "*":
            return self._product(a, b)
        return [self._less(op, a, b)]

    def _sum(self, a: list[int], b: list[int], carried: int) -> list[int]:
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
        if all(literal < 2 for literal in (*a, *b)):
            total = sum(x << k for k, x in enumerate(a)) + sum(x << k for k, x in enumerate(b)) + carried
            return low + [total >> k & 1 for k in range(len(a))]
        return low + self._chain(("+", carried, *sorted((tuple(a), tuple(b)))), (*a, *b), len(a)).outputs

    def _chain(self, key: tuple[Any, ...], operands: tuple[int, ...], width: int, whole: bool = False) -> _Chain:
        if key not in self.chains:
            chain = self.chains[key] = _Chain(operands, [self.gates.source() for _ in range(width)], whole)
            self.sources.update(dict.fromkeys(chain.outputs, chain))
        return self.chains[key]

    def _less(self, op: str, a: list[int], b: list[int]) -> int:
        if op[1:] in (">", "<="):
            a, b = b, a
        invert = op[1:] in ("<=", ">=")
        if op[0] == "s":
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
        chain = self._chain(("<", tuple(a), tuple(b)), (*a, *b), len(a), whole=True)
        return chain.outputs[-1] ^ invert

    def _shift(self, op: str, a: list[int], by: list[int]) -> list[int]:
        fill = a[-1] if op == "s>>" else FALSE
        for stage, bit in enumerate(by):
            step = 1 << stage
            if bit == FALSE:
                continue
            moved = [FALSE] * step + a[:-step] if op == "<<" else a[step:] + [fill] * min(step, len(a))
            a = [self.gates.choose(bit, yes, no) for yes, no in zip(moved[: len(a)], a, strict=True)]
        return a

    def _product(self, a: list[int], b: list[int]) -> list[int]:
        """Out of multipliers; a factor that is a power of two is a shift."""
        for one, other in ((a, b), (b, a)):
            if all(literal < 2 for literal in one) and one.count(TRUE) <= 1:
                at = one.index(TRUE) if TRUE in one else len(one)
                return ([FALSE] * at + other)[: len(other)]
        key = ("*", *sorted((tuple(a), tuple(b))))
        if key not in self.chains:
            count = 1
            for part in (a, b):
                width = len(part)
                while width > 1 and part[width - 1] == part[width - 2]:
                    width -= 1
                count *= -(-width // PRODUCT_BITS)
            self.multipliers += count
            self.roots.update((*a, *b))
            self.chains[key] = _Chain((), [self.gates.source() for _ in a], False)
        return self.chains[key].outputs

    def _part(self, number: int, cell: _nir.Part) -> list[int]:
        value, offset = self.value(cell.value), self.value(cell.offset)
        fill = value[-1] if cell.value_signed else FALSE
        places = min(1 << len(offset), -(-len(value) // cell.stride))
        return [
            self.gates.pick(offset, [
                value[at] if (at := place * cell.stride + bit) < len(value) else fill for place in range(places)
            ])
            for bit in range(cell.width)
        ]  # fmt: skip

    def _matches(self, number: int, cell: _nir.Matches) -> list[int]:
        value = self.value(cell.value)
        made = [
            self.gates.all(literal ^ (bit == "0") for literal, bit in zip(reversed(value), pattern, strict=True) if bit != "-")
            for pattern in cell.patterns
        ]
        return [self.gates.any(made)]

    def _prioritymatch(self, number: int, cell: _nir.PriorityMatch) -> list[int]:
        left, made = self.net(cell.en), []
        for literal in self.value(cell.inputs):
            made.append(self.gates.both(left, literal))
            left = self.gates.both(left, literal ^ 1)
        return made

    def _assignmentlist(self, number: int, cell: _nir.AssignmentList) -> list[int]:
        made = self.value(cell.default)
        for one in cell.assignments:
            condition = self.net(one.cond)
            if condition == FALSE:
                continue
            for place, literal in enumerate(self.value(one.value), one.start):
                if place < len(made):
                    made[place] = self.gates.choose(condition, literal, made[place])
        return made

    # Memories.

    def _syncreadport(self, number: int, cell: _nir.SyncReadPort) -> list[int]:
        memory = self.netlist.cells[cell.memory]
        assert isinstance(memory, _nir.Memory)
        if cell.memory not in self.writers:
            return self._rom(memory.name, memory.width, list(memory.init), cell.addr, registers=1)
        return self._ram(cell.memory, memory, cell)

    def _asyncreadport(self, number: int, cell: _nir.AsyncReadPort) -> list[int]:
        memory = self.netlist.cells[cell.memory]
        assert isinstance(memory, _nir.Memory)
        if cell.memory not in self.writers:
            return self._table(memory.width, list(memory.init), self.value(cell.addr))
        return self._ram(cell.memory, memory, cell)

    def _name(self, number: int) -> str:
        cell = self.netlist.cells[number]
        module, parts = self.netlist.modules[cell.module_idx], []
        return ".".join((*module.name[1:], *parts))

    def _ram(self, number: int, memory: _nir.Memory, reader: Any) -> list[int]:
        """Outputs of a memory that is written, and what its ports need."""
        made = self.values.setdefault(-1 - number, [self.gates.source() for _ in range(memory.width)])
        # What is written can depend on what was read.
        self.pending.append((number, 0))
        if len(self.pending) == 1:
            while self.pending:
                self._write(self.pending[0][0])
                self.pending.pop(0)
        return made

    def _write(self, number: int) -> None:
        if number in self.made_memories:
            return
        self.made_memories[number] = []
        memory, gates = self.netlist.cells[number], self.gates
        assert isinstance(memory, _nir.Memory)
        writer = self.netlist.cells[self.writers[number]]
        assert isinstance(writer, _nir.SyncWritePort)
        enables, address, values = self.value(writer.en), self.value(writer.addr), self.value(writer.data)
        self.roots.update((*enables, *address, *values))
        clocked = True
        for reader in self.readers[number]:
            port = self.netlist.cells[reader]
            assert isinstance(port, _nir.SyncReadPort | _nir.AsyncReadPort)
            clocked = clocked and isinstance(port, _nir.SyncReadPort)
            self.roots.update(self.value(port.addr))
        per_bit = tuple(enables) if len(enables) == memory.width else tuple(enables) * memory.width
        mapping = memories.map_memory(memory.width, memory.depth, enables=per_bit, clocked=clocked)
        self.mapped[self._name(number)] = mapping
        self.block_rams += mapping.block_rams
        self.lut_rams += mapping.lut_rams
        if mapping == memories.LOGIC:
            return
        self._between(mapping, memory.width, [self.gates.source() for _ in range(mapping.parts.bit_length())])
        if mapping.parts > 1:
            high = address[-(mapping.parts - 1).bit_length() :]
            for part in range(mapping.parts):
                chosen = gates.all(literal ^ (~part >> k & 1) for k, literal in enumerate(high))
                self.roots.update(gates.both(chosen, enable) for enable in set(enables))

    def _between(self, mapping: memories.Mapping, width: int, select: list[int]) -> None:
        """Choices between the parts of a memory."""
        if mapping.parts > 1:
            for _ in range(width):
                self.roots.add(self.gates.pick(select, [self.gates.source() for _ in range(mapping.parts)]))

    def _rom(self, name: str, width: int, init: list[int], address: Any, registers: int) -> list[int]:
        """Outputs of a read-only memory with a registered port."""
        constant = _constant_bits(width, init)
        mapping = memories.map_memory(width - len(constant), len(init), enables=None)
        lines = self.value(address)
        if mapping == memories.LOGIC:
            made = self._table(width, init, lines)
            self.roots.update(made)
        else:
            self.roots.update(lines)
            self.block_rams += mapping.block_rams
            self._between(mapping, width - len(constant), [self.gates.source() for _ in range(mapping.parts.bit_length())])
        self.mapped[name] = mapping
        return [constant[bit] if bit in constant else self.gates.source() for bit in range(width)]

    def _table(self, width: int, init: list[int], address: list[int]) -> list[int]:
        """A read-only memory as gates."""
        columns = [[word >> bit & 1 for word in init] for bit in range(width)]
        return [self.gates.pick(address, column) for column in columns]

    # Modules of Verilog's own.

    def _instance(self, number: int, cell: _nir.Instance) -> list[int]:
        parameters = {name: getattr(value, "value", value) for name, value in cell.parameters.items()}
        width = sum(count for _, count in cell.ports_o.values())
        inputs = {name: self.value(value) for name, value in cell.ports_i.items() if name != "clk"}
        if cell.type == rom.MODULE:
            bits, words = self.words[str(parameters["FILE"])]
            return self._rom(f"{self._name(number)}.words", bits, words, cell.ports_i["addr"], registers=2)
        for value in inputs.values():
            self.roots.update(value)
        if cell.type == multiply.MODULE:
            self.multipliers += 1
        elif cell.type == carry.MODULE:
            self.carry_pairs += -(-int(parameters["WIDTH"]) // 2)
            self.carry_chains += 1
        elif cell.type == signs.MODULE:
            self.carry_pairs += 3
            self.carry_chains += 1
        return [self.gates.source() for _ in range(width)]


def _constant_bits(width: int, words: list[int]) -> dict[int, int]:
    """Bits that are the same in all words; synthesis leaves them out."""
    ones, zeros = ~0, ~0
    for word in words:
        ones, zeros = ones & word, zeros & ~word
    return {bit: ones >> bit & 1 for bit in range(width) if (ones | zeros) >> bit & 1}


def kinds_of(component: wiring.Component) -> Counter[str]:
    """Cells of the front end's netlist by kind; for looking at a design."""
    return Counter(type(cell).__name__ for cell in _netlist(component).cells)
