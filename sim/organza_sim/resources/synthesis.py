"""From gateware to what synthesis makes of it, in a second instead of minutes: memories, multipliers, carry chains, gates.

The netlist of Amaranth's own front end is walked bit by bit from what leaves the component back to what comes in. Constants vanish, equal
gates and equal registers become one, what nothing needs is not visited; adders and comparisons are carry
chains unless they are short (`organza_sim.resources.arithmetic`); memories are mapped by `organza_sim.resources.memories`. Enables and resets of registers cost only what makes them.

The one place here that looks into Amaranth's netlist; Amaranth is pinned below 0.6 (see `organza_hw.verilog`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from amaranth.hdl import Const, Fragment, ValueCastable, _ir, _nir
from amaranth.lib import wiring

from organza_hw import multiply, rom
from organza_hw.lanes import carry, signs
from organza_sim.resources import memories, operators
from organza_sim.resources.arithmetic import SHORT, Arithmetic
from organza_sim.resources.contents import Chain, Contents, Owner
from organza_sim.resources.gates import FALSE, TRUE, Gates

ROUNDS = 3  # in which registers can turn out to be constant
ir: Any = _ir  # the stubs know few of their members
nir: Any = _nir
DEPTH = 1_000_000  # of calls: a pipeline is walked from its end to its beginning
PAD_CELLS = ("BB", "IFS1P3DX", "ODDRX1F", "OFS1P3DX")  # in pads, so neither LUTs nor registers of the rest
ENABLES = 6  # choices in front of a register between which its own value is looked for


def contents(component: wiring.Component, words: Mapping[str, tuple[int, list[int]]]) -> Contents:
    """What `component` takes of an ECP5.

    words : width and words of the memories that lie in files, by file name.
    """
    netlist = _netlist(component)
    known: dict[int, int] = {}
    with _deep_calls():
        walk = _Walk(netlist, words, known)
        walk.run()
        for _ in range(ROUNDS - 1):
            if not walk.found:
                break
            known = {**known, **walk.found}
            walk = _Walk(netlist, words, known)
            walk.run()
        return walk.contents()


@contextmanager
def _deep_calls() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _netlist(component: wiring.Component) -> Any:
    ports = []
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        if not isinstance(value, Const):
            flow = ir.PortDirection.Input if member.flow == wiring.In else ir.PortDirection.Output
            ports.append(("__".join(map(str, path)), value, flow))
    ports += [(name, pins, ir.PortDirection.Inout) for name, pins in getattr(component, "inouts", {}).items()]
    netlist = nir.Netlist()
    ir._emit_netlist(netlist, Fragment.get(component, None).prepare(ports=ports, hierarchy=("top",)), all_undef_to_ff=False)
    netlist.resolve_all_nets()
    return netlist


class _Walk:
    """One walk over the netlist; `found` are nets of registers that are constant, which it has not known."""

    def __init__(self, netlist: Any, words: Mapping[str, tuple[int, list[int]]], known: Mapping[int, int]):
        self.netlist, self.words, self.known = netlist, words, known
        self.gates = Gates()
        self.arithmetic = Arithmetic(self.gates)
        self.found: dict[int, int] = {}
        self.values: dict[int, list[int]] = {}  # by cell: literals of its outputs
        self.bits: dict[int, int] = {}  # of registers, by net
        self.registers: dict[tuple[int, int], int] = {}  # by data and initial value
        self.roots: list[int] = []
        self.readers: dict[int, list[int]] = {}
        self.writers: dict[int, int] = {}
        for number, cell in enumerate(netlist.cells):
            if isinstance(cell, nir.SyncReadPort | nir.AsyncReadPort):
                self.readers.setdefault(cell.memory, []).append(number)
            elif isinstance(cell, nir.SyncWritePort):
                self.writers[cell.memory] = number
        self.rams: dict[int, tuple[Owner, list[int]]] = {}
        self._unwritten: list[int] = []  # memories whose write ports have not been walked
        self._done: set[Owner] = set()

    def run(self) -> None:
        """Walk from the ports of the top module."""
        for value in self.netlist.top.ports_o.values():
            self.roots += self.value(value)
        self._write_all()

    def contents(self) -> Contents:
        """What the ports of the top module need."""
        made, gates = Contents(), self.gates
        wanted, seen, owned, stack = [], set(), [], list(self.roots)
        while stack:
            literal = stack.pop() & ~1
            if literal in seen or literal == FALSE:
                continue
            seen.add(literal)
            owner = self.arithmetic.owners.get(literal)
            if owner is None:
                stack += gates.inputs[literal >> 1]
                continue
            if isinstance(owner, Chain):
                needs = owner.want(literal)
            else:
                needs = [] if owner in self._done else owner.needs
            if owner not in self._done:
                self._done.add(owner)
                owned.append(owner)
            wanted += needs
            stack += needs
        for owner in owned:
            for name, count in owner.cells.items():
                setattr(made, name, getattr(made, name) + count)
            if owner.mapping is not None:
                made.memories[owner.name] = owner.mapping
            if isinstance(owner, Chain):
                if owner.used > SHORT:
                    made.pairs += -(-owner.used // 2)
                    made.chains += 1
                else:
                    made.short += owner.used
        made.rom_luts = gates.luts([literal for owner in owned if owner.mapping == memories.LOGIC for literal in owner.needs])
        made.luts = gates.luts([*self.roots, *wanted]) - made.rom_luts
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
        if isinstance(cell, nir.FlipFlop):
            return self._register(net, cell)
        if net.cell not in self.values:
            self.values[net.cell] = self._outputs(net.cell, cell)
        return self.values[net.cell][net.bit - 2 if net.cell == 0 else net.bit]

    def _register(self, net: Any, cell: Any) -> int:
        if net in self.known:
            return self.known[net]
        if cell.arst != FALSE:
            return FALSE  # of what makes a board's reset, which the registers have their own way in for
        if net in self.bits:
            return self.bits[net]
        # Read while it is being walked, a register is a value of its own; otherwise it is the same as any that gets the same.
        owner = Owner(cells={"registers": 1})
        (own,) = self.arithmetic.own(owner, 1)
        self.bits[net] = own
        data = self.net(cell.data[net.bit])
        initial = cell.init >> net.bit & 1
        if data == own or self.gates.given(data, own, initial) == initial:
            self.found[net] = self.bits[net] = initial
            return initial
        owner.needs = self._controlled(data, own, initial)
        # One that is read by itself keeps its name.
        self.bits[net] = self.registers.setdefault((data, initial), own)
        return self.bits[net]

    def _controlled(self, data: int, own: int, initial: int) -> list[int]:
        """What a register gets when it gets something, what says when, and what sets it back, as Yosys's `opt_dff` divides them.

        A register is set back before it is enabled; behind an enable only where nothing else sets it back.
        """
        data, resets = self._set_back(data, own, initial)
        value, when = self._enabled(data, own)
        if value is not None and not resets:
            value, resets = self._set_back(value, own, initial)
        return [literal for literal in (value, when, self.gates.any(resets)) if literal is not None and literal > TRUE]

    def _set_back(self, data: int, own: int, initial: int) -> tuple[int, list[int]]:
        """What is chosen where a register does not get its initial value by a choice; and what chooses that."""
        resets: list[int] = []
        while (choice := self.gates.choice(data)) is not None:
            select, yes, no = choice
            if no == initial and yes not in (FALSE, TRUE, own):
                data = yes
                resets.append(select ^ 1)
            else:
                break
        return data, resets

    def _enabled(self, data: int, own: int) -> tuple[int | None, int]:
        """What a register gets when it gets something, None for its own value, and what says when."""
        gates = self.gates
        known: dict[int, tuple[int | None, int]] = {}

        def split(literal: int, depth: int) -> tuple[int | None, int]:
            if literal == own:
                return None, FALSE
            choice = gates.choice(literal)
            if depth == 0 or choice is None:
                return literal, TRUE
            if literal not in known:
                select, *ways = choice
                (a, when_a), (b, when_b) = (split(way, depth - 1) for way in ways)
                if when_a == TRUE and when_b == TRUE:
                    known[literal] = literal, TRUE
                else:
                    value = b if a is None else a if b is None else gates.choose(select, a, b)
                    known[literal] = value, gates.choose(select, when_a, when_b)
            return known[literal]

        return split(data, ENABLES)

    # Cells.

    def _outputs(self, number: int, cell: Any) -> list[int]:
        if isinstance(cell, nir.Top):
            return [self.gates.source() for _ in range(sum(width for _, width in cell.ports_i.values()))]
        return getattr(self, f"_{type(cell).__name__.lower()}")(number, cell)

    def _operator(self, number: int, cell: Any) -> list[int]:
        return operators.operate(self.arithmetic, cell.operator, [self.value(part) for part in cell.inputs])

    def _part(self, number: int, cell: Any) -> list[int]:
        value, offset = self.value(cell.value), self.value(cell.offset)
        return operators.part(self.gates, value, offset, cell.width, cell.stride, signed=cell.value_signed)

    def _matches(self, number: int, cell: Any) -> list[int]:
        return [operators.matches(self.gates, self.value(cell.value), cell.patterns)]

    def _prioritymatch(self, number: int, cell: Any) -> list[int]:
        return operators.first_of(self.gates, self.net(cell.en), self.value(cell.inputs))

    def _assignmentlist(self, number: int, cell: Any) -> list[int]:
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

    def _syncreadport(self, number: int, cell: Any) -> list[int]:
        memory = self.netlist.cells[cell.memory]
        if cell.memory not in self.writers:
            return self._rom(self._name(cell.memory), memory.width, list(memory.init), cell.addr)
        return self._ram(cell.memory, memory, cell)

    def _asyncreadport(self, number: int, cell: Any) -> list[int]:
        memory = self.netlist.cells[cell.memory]
        if cell.memory not in self.writers:
            return self._table(memory.width, list(memory.init), self.value(cell.addr))
        return self._ram(cell.memory, memory, cell)

    def _name(self, number: int) -> str:
        cell = self.netlist.cells[number]
        return ".".join((*self.netlist.modules[cell.module_idx].name[1:], getattr(cell, "name", "words")))

    def _ram(self, number: int, memory: Any, reader: Any) -> list[int]:
        """Outputs of a memory that is written. What is written can depend on them, so that is walked later."""
        if number not in self.rams:
            owner = Owner()
            self.rams[number] = owner, self.arithmetic.own(owner, memory.width)
            self._unwritten.append(number)
        return self.rams[number][1]

    def _write_all(self) -> None:
        while self._unwritten:
            number = self._unwritten.pop()
            self._write(number, self.rams[number][0])

    def _write(self, number: int, owner: Owner) -> None:
        """What the ports of a memory need."""
        memory, writer = self.netlist.cells[number], self.netlist.cells[self.writers[number]]
        enables, address, clocked = self.value(writer.en), self.value(writer.addr), True
        owner.needs += [*enables, *address, *self.value(writer.data)]
        for reader in self.readers[number]:
            port = self.netlist.cells[reader]
            clocked = clocked and isinstance(port, nir.SyncReadPort)
            owner.needs += self.value(port.addr)
            if isinstance(port, nir.SyncReadPort):
                owner.needs.append(self.net(port.en))
        mapping = memories.map_memory(memory.width, memory.depth, enables=tuple(enables), clocked=clocked)
        owner.name, owner.mapping = self._name(number), mapping
        owner.cells = {"block_rams": mapping.block_rams, "lut_rams": mapping.lut_rams}
        if mapping.parts > 1:
            owner.needs += self._choices(mapping, memory.width)
            high = address[-(mapping.parts - 1).bit_length() :]
            for part in range(mapping.parts):
                chosen = self.gates.all(literal ^ (~part >> k & 1) for k, literal in enumerate(high))
                owner.needs += [self.gates.both(chosen, enable) for enable in set(enables)]

    def _choices(self, mapping: memories.Mapping, width: int) -> list[int]:
        """Choices between the parts of a memory."""
        select = [self.gates.source() for _ in range((mapping.parts - 1).bit_length())]
        return [self.gates.pick(select, [self.gates.source() for _ in range(mapping.parts)]) for _ in range(width)]

    def _rom(self, name: str, width: int, init: list[int], address: Any) -> list[int]:
        """Outputs of a read-only memory behind a register."""
        constant = _constant_bits(width, init)
        mapping = memories.map_memory(width - len(constant), len(init), enables=None)
        lines = self.value(address)
        owner = Owner(name=name, mapping=mapping, cells={"block_rams": mapping.block_rams})
        owner.needs = self._table(width, init, lines) if mapping == memories.LOGIC else lines
        if mapping.parts > 1:
            owner.needs += self._choices(mapping, width - len(constant))
        made = self.arithmetic.own(owner, width)
        return [constant.get(bit, made[bit]) for bit in range(width)]

    def _table(self, width: int, init: list[int], address: list[int]) -> list[int]:
        """A read-only memory as gates."""
        columns = [[word >> bit & 1 for word in init] for bit in range(width)]
        return [self.gates.pick(address, column) for column in columns]

    # Modules of Verilog's own.

    def _instance(self, number: int, cell: Any) -> list[int]:
        parameters = {name: getattr(value, "value", value) for name, value in cell.parameters.items()}
        width = sum(count for _, count in cell.ports_o.values())
        if cell.type in PAD_CELLS:
            owner = Owner()
            made = self.values[number] = self.arithmetic.own(owner, width)  # there are registers in a ring
            owner.needs = [literal for name, value in cell.ports_i.items() if name != "SCLK" for literal in self.value(value)]
            return made
        inputs = {name: self.value(value) for name, value in cell.ports_i.items() if name != "clk"}
        if cell.type == rom.MODULE:
            bits, words = self.words[str(parameters["FILE"])]
            return self._rom(self._name(number), bits, words, cell.ports_i["addr"])
        owner = Owner([literal for value in inputs.values() for literal in value])
        if cell.type == rom.LOADED_MODULE:
            mapping = memories.map_memory(width, int(parameters["DEPTH"]), enables=(inputs["load"][0],) * width)
            owner.cells = {"block_rams": mapping.block_rams, "lut_rams": mapping.lut_rams}
            if mapping.parts > 1:
                owner.needs += self._choices(mapping, width)
        elif cell.type == multiply.MODULE:
            owner.cells = {"multipliers": 1}
        elif cell.type == carry.MODULE:
            owner.cells = {"pairs": -(-int(parameters["WIDTH"]) // 2), "chains": 1}
        elif cell.type == signs.MODULE:
            owner.cells = {"pairs": 3, "chains": 1}
        return self.arithmetic.own(owner, width)


def _constant_bits(width: int, words: list[int]) -> dict[int, int]:
    """Bits that are the same in all words; synthesis leaves them out."""
    ones, zeros = ~0, ~0
    for word in words:
        ones, zeros = ones & word, zeros & ~word
    return {bit: ones >> bit & 1 for bit in range(width) if (ones | zeros) >> bit & 1}
