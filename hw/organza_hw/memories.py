"""What an engine stores: which words of its memories belong to which layer, and which memories are files or loaded at run time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from organza.schedule import Schedule


@dataclass(frozen=True)
class Memory:
    """A memory of an engine.

    name : as in a netlist, its file's without the ending. width : bits of a word. words : address 0 first. loads : they are written at run time.
    counts : words of every layer of the engine; a layer's are behind those of the layer before.
    copies : the components that hold them, a `Rom` or several, or `Registers`.
    """

    name: str
    width: int
    words: list[int]
    loads: bool
    counts: list[int]
    copies: Sequence[Any] = ()

    @classmethod
    def of(cls, copies: Sequence[Any], counts: list[int]) -> "Memory":
        """Of components with the same words."""
        first = copies[0]
        return cls(first.name, first.width, first.words, first.loads, counts, copies)

    @property
    def kind(self) -> str:
        """What is in it, the last part of its name: weights, constants, table, …"""
        return self.name.rpartition("_")[2]

    def part(self, words: list[int], layer: int) -> list[int]:
        """Those of `words`, as many as the memory has, that belong to the engine's layer of this number."""
        ends = [0, *accumulate(self.counts)]
        return words[ends[layer] : ends[layer + 1]]


class Memories(ABC):
    """What every engine says of its memories.

    layers : that it runs.
    """

    layers: tuple[Schedule, ...]

    @property
    @abstractmethod
    def memories(self) -> list[Memory]:
        """All that hold weights, constants or tables, in the order of an image of weights."""

    @property
    def roms(self) -> list[Any]:
        """Every `Rom` that has a file."""
        return [memory.copies[0] for memory in self.memories if memory.name and not memory.loads]

    @property
    def loaded_memories(self) -> list[Memory]:
        """Memories that are loaded at run time, in the order of an image."""
        return [memory for memory in self.memories if memory.loads]
