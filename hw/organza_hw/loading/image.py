"""Images of weights for a chip, and what an image says: the words are those that a `Rom` with the same Program would hold."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from amaranth.hdl import Shape

from organza.codes import BlockHash, Code, Codebook, Hashed, MultiHash
from organza.codes.code import lane_order
from organza.codes.trits import BYTE, TRITS, bytes_of
from organza.loadable import fitted, shape_hash
from organza.plan import Plan
from organza.program import Convolve, Program
from organza.program_file import program_hash
from organza.schedule import Schedule
from organza.weight_image import unwrapped, wrapped
from organza_hw.codes import term_of
from organza_hw.epilogue import Constants
from organza_hw.loading.loader import word_bytes
from organza_hw.looked_at import only_looked_at
from organza_hw.memories import Memory
from organza_hw.pipeline import Pipeline
from organza_hw.weights import in_bytes


@dataclass(frozen=True)
class _Engine:
    """Of an engine what says its image. memories : those that are loaded, without their components. entry : shape of one of a table."""

    layers: tuple[Schedule, ...]
    memories: list[Memory]
    constants: Constants
    entry: Shape

    @classmethod
    def of(cls, engine: Any) -> "_Engine":
        memories = [replace(memory, copies=()) for memory in engine.loaded_memories]
        return cls(engine.layers, memories, engine.constants, engine.units[0].q.shape())


def loaded_memories(program: Program, plan: Plan) -> dict[str, tuple[int, int]]:
    """Width and depth of every memory that is loaded, by its name, in the order of an image."""
    return {memory.name: (memory.width, len(memory.words)) for engine in _engines(program, plan) for memory in engine.memories}


def payload_bytes(program: Program, plan: Plan) -> int:
    """Bytes of all words in an image."""
    return _bytes(_engines(program, plan))


def weight_image(program: Program, plan: Plan, weights: Program | None = None) -> bytes:
    """The image that loads the weights of one Program into the chip of another.

    program, plan : what the chip was built of. weights : None for those of `program` itself.

    Raises ValueError if no weights of `program` are loaded, or naming the layer where `weights` do not fit, see
    `organza.loadable.fitted`.
    """
    shape = _shape(program, plan)
    words = b"".join(
        word.to_bytes(word_bytes(memory.width), "little")
        for engine in _engines(program if weights is None else fitted(weights, program), plan)
        for memory in engine.memories
        for word in memory.words
    )
    return wrapped(shape, words)


def read_image(image: bytes, program: Program, plan: Plan) -> Program:
    """What a chip that was built of `program` and `plan` computes once it has this image; formats and scales are those of `program`.

    Raises `organza.weight_image.ImageError` where the chip refuses it, and ValueError naming the layer for words that no weights have.
    """
    shape, engines = _shape(program, plan), _engines(program, plan)
    payload, place = unwrapped(image, shape, _bytes(engines)), 0
    nodes: list[Convolve] = []
    kept = []
    for engine in engines:
        found = []
        for memory in engine.memories:
            size = word_bytes(memory.width)
            ends = range(place, place + size * len(memory.words), size)
            found.append([int.from_bytes(payload[at : at + size], "little") for at in ends])
            place = ends.stop
        kept.append(found)
        nodes += _nodes(engine, found)
    made = Program(tuple(nodes))
    for engine, found in zip(_engines(made, plan), kept, strict=True):
        for number, schedule in enumerate(engine.layers):
            for memory, words in zip(engine.memories, found, strict=True):
                if memory.part(memory.words, number) != memory.part(words, number):
                    raise ValueError(f"{schedule.node.name}: the image holds no weights: what is between them is not as it is stored")
    return made


def _shape(program: Program, plan: Plan) -> bytes:
    if not program.loads:
        raise ValueError("Program must have layers whose weights are loaded at run time")
    return shape_hash(program, plan)


def _engines(program: Program, plan: Plan) -> list[_Engine]:
    with only_looked_at():
        made = [_Engine.of(engine) for engine in Pipeline(program, replace(plan, program=program_hash(program))).engines]
    return made


def _bytes(engines: list[_Engine]) -> int:
    return sum(word_bytes(memory.width) * len(memory.words) for engine in engines for memory in engine.memories)


def _nodes(engine: _Engine, found: list[list[int]]) -> Iterator[Convolve]:
    """The layers of an engine with these words in its memories that are loaded. Raises ValueError for words that no weights have."""
    if not found:
        yield from (schedule.node for schedule in engine.layers)
        return
    memories = {memory.kind: (memory, words) for memory, words in zip(engine.memories, found, strict=True)}
    columns = engine.constants.columns(memories["constants"][1], sum(schedule.node.co for schedule in engine.layers))
    before = 0  # channels of the layers before
    for number, schedule in enumerate(engine.layers):
        node, mine = schedule.node, {kind: memory.part(words, number) for kind, (memory, words) in memories.items()}
        constants = {name: column[before : before + node.co] for name, column in columns.items()}
        before += node.co
        try:
            epilogue = replace(node.epilogue, **constants, table=_table(node, mine.get("table", []), engine.entry))
            yield replace(node, code=_code(schedule, mine), epilogue=epilogue)
        except ValueError as error:
            raise ValueError(f"{node.name}: the image holds no weights: {str(error).removeprefix(f'{node.name}: ')}") from error


def _table(node: Convolve, words: list[int], entry: Shape) -> np.ndarray | None:
    """The layer's table of words of this shape."""
    if node.epilogue.table is None:
        return None
    raw = np.array(words, np.int64)
    return node.output.from_wire(raw - (raw >> (entry.width - 1) << entry.width if entry.signed else 0))


def _code(schedule: Schedule, found: dict[str, list[int]]) -> Code:
    weights = found["weights"]
    code: Any = schedule.node.code
    if isinstance(code, BlockHash):
        return replace(code, rows=_signed(_parts(weights, BYTE, schedule.ti * schedule.to)).reshape(code.rows.shape))
    if isinstance(code, Hashed):
        return replace(code, buckets=_signed(np.array(weights, np.int64)))
    if isinstance(code, MultiHash):
        left, right = (_signed(np.array(found[name], np.int64)) for name in ("weights", "right"))
        return replace(code, left=left.reshape(code.left.shape), right=right.reshape(code.right.T.shape).T)
    if isinstance(code, Codebook):
        code = replace(code, centroids=np.array(term_of(code, schedule.arithmetic).stored(found["centroids"])))
    return code.of_fields(_fields(schedule, weights))


def _signed(octets: np.ndarray) -> np.ndarray:
    return octets - (octets >> BYTE - 1 << BYTE)


def _fields(schedule: Schedule, words: list[int]) -> np.ndarray:
    """Fields of all weights."""
    code, lanes = schedule.node.code, schedule.ti * schedule.to
    if in_bytes(code):
        octets, digits = _parts(words, BYTE, bytes_of(lanes)), []
        for _ in range(TRITS):
            digits.append(octets * 3 >> BYTE)
            octets = octets * 3 & (1 << BYTE) - 1
        fields = np.array([0, 1, 3])[np.stack(digits, -1)].reshape(len(words), -1)[:, :lanes]
    else:
        fields = _parts(words, code.field_bits, lanes)
    order = lane_order(code.shape, schedule.ti, schedule.to, schedule.node.groups)
    made = np.zeros(np.prod(code.shape), np.int64)
    made[order[order >= 0]] = fields.reshape(-1)[order >= 0]
    return made.reshape(code.shape)


def _parts(words: list[int], bits: int, count: int) -> np.ndarray:
    """So many fields of every word, int64 (words, count)."""
    return np.array([[word >> bits * k & (1 << bits) - 1 for k in range(count)] for word in words], np.int64)
