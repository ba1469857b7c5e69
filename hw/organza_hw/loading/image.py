"""Images of weights for a chip, and what an image says: the words are those that a `Rom` with the same Program would hold."""

import gc
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from amaranth.hdl import Const, UnusedElaboratable
from amaranth.lib import data

from organza.codes import BlockHash, Code, Codebook, Hashed, MultiHash
from organza.codes.code import lane_order
from organza.codes.trits import BYTE, TRITS
from organza.epilogue import Epilogue
from organza.loadable import fitted, shape_hash
from organza.plan import Plan
from organza.program import Convolve, Program
from organza.program_file import program_hash
from organza.schedule import Schedule
from organza.weight_image import unwrapped, wrapped
from organza_hw.codes import term_of
from organza_hw.engine import Engine
from organza_hw.loading.loader import word_bytes
from organza_hw.pipeline import Pipeline
from organza_hw.shared.engine import SharedEngine


@dataclass(frozen=True)
class _Layer:
    """Of an engine: memories that are loaded, as width and words, and their names; channels of every word of constants, and its layout; bytes of a
    lane word of five ternary weights a byte, else 0."""

    schedule: Schedule
    memories: list[tuple[int, list[int]]]
    names: list[str]
    channels: list[list[int]]
    layout: data.StructLayout
    octets: int


def loaded_memories(program: Program, plan: Plan) -> dict[str, tuple[int, int]]:
    """Width and depth of every memory that is loaded, by its name, in the order of an image."""
    return {
        name: (width, len(words)) for layer in _layers(program, plan)
        for name, (width, words) in zip(layer.names, layer.memories, strict=True)
    }  # fmt: skip


def payload_bytes(program: Program, plan: Plan) -> int:
    """Bytes of all words in an image."""
    return sum(word_bytes(width) * depth for width, depth in loaded_memories(program, plan).values())


def weight_image(program: Program, plan: Plan, weights: Program | None = None) -> bytes:
    """The image that loads the weights of one Program into the chip of another.

    program, plan : what the chip was built of. weights : None for those of `program` itself.

    Raises ValueError if no weights of `program` are loaded, or naming the layer where `weights` do not fit, see
    `organza.loadable.fitted`.
    """
    shape = _shape(program, plan)
    words = b"".join(
        word.to_bytes(word_bytes(width), "little")
        for layer in _layers(program if weights is None else fitted(weights, program), plan)
        for width, words in layer.memories
        for word in words
    )
    return wrapped(shape, words)


def read_image(image: bytes, program: Program, plan: Plan) -> Program:
    """What a chip that was built of `program` and `plan` computes once it has this image; formats and scales are those of `program`.

    Raises `organza.weight_image.ImageError` where the chip refuses it, and ValueError naming the layer for words that no weights have.
    """
    shape, layers = _shape(program, plan), _layers(program, plan)
    sizes = [(word_bytes(width), len(words)) for layer in layers for width, words in layer.memories]
    payload, place = unwrapped(image, shape, sum(size * depth for size, depth in sizes)), 0
    nodes, kept = [], []
    for node, layer in zip(program.nodes, layers, strict=True):
        found = []
        for width, words in layer.memories:
            size = word_bytes(width)
            ends = range(place, place + size * len(words), size)
            found.append([int.from_bytes(payload[at : at + size], "little") for at in ends])
            place = ends.stop
        kept.append(found)
        try:
            nodes.append(_node(layer, found) if found else node)
        except ValueError as error:
            raise ValueError(f"{node.name}: the image holds no weights: {error}") from error
    made = Program(tuple(nodes))
    for node, layer, found in zip(nodes, _layers(made, plan), kept, strict=True):
        if [words for _, words in layer.memories] != found:
            raise ValueError(f"{node.name}: the image holds no weights: what is between them is not as it is stored")
    return made


def _shape(program: Program, plan: Plan) -> bytes:
    if not program.loads:
        raise ValueError("Program must have layers whose weights are loaded at run time")
    return shape_hash(program, plan)


def _layers(program: Program, plan: Plan) -> list[_Layer]:
    with warnings.catch_warnings():
        # The pipeline is made only to be looked at; Amaranth warns when it is collected.
        warnings.simplefilter("ignore", UnusedElaboratable)
        made = [
            layer for engine in Pipeline(program, replace(plan, program=program_hash(program))).engines for layer in _layers_of(engine)
        ]
        gc.collect()
    return made


def _layers_of(engine: Engine | SharedEngine) -> list[_Layer]:
    """Layers of an engine; those that share one have nothing that is loaded."""
    if isinstance(engine, SharedEngine):
        return [_Layer(schedule, [], [], [], engine.constants.layout, 0) for schedule in engine.shared.layers]
    return [
        _Layer(
            engine.schedule, [(rom.width, rom.words) for rom, *_ in engine.loaded_roms],
            [rom.name for rom, *_ in engine.loaded_roms],
            [channels for channels, _ in engine.pieces()], engine.constants.layout, getattr(engine.weights, "bytes", 0),
        )
    ]  # fmt: skip


def _node(layer: _Layer, words: list[list[int]]) -> Convolve:
    """The layer with these words in its memories. Raises ValueError for words that no weights have."""
    found = {name.rpartition("_")[2]: some for name, some in zip(layer.names, words, strict=True)}
    return replace(layer.schedule.node, code=_code(layer, found), epilogue=_epilogue(layer, found))


def _code(layer: _Layer, found: dict[str, list[int]]) -> Code:
    schedule, weights = layer.schedule, found["weights"]
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
    return code.of_fields(_fields(layer, weights))


def _signed(octets: np.ndarray) -> np.ndarray:
    return octets - (octets >> BYTE - 1 << BYTE)


def _fields(layer: _Layer, words: list[int]) -> np.ndarray:
    """Fields of all weights."""
    schedule = layer.schedule
    code, lanes = schedule.node.code, schedule.ti * schedule.to
    if layer.octets:
        octets, digits = _parts(words, BYTE, layer.octets), []
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


def _epilogue(layer: _Layer, found: dict[str, list[int]]) -> Epilogue:
    node, layout = layer.schedule.node, layer.layout
    columns = {name: np.zeros(node.co, np.int64) for name in ("bias", "positive", "negative", "shift")}
    for channels, word in zip(layer.channels, found["constants"], strict=True):
        units = layout.from_bits(word & (1 << layout.size) - 1).units
        for k, channel in enumerate(channels):
            for name, column in columns.items():
                column[channel] = Const.cast(units[k][name]).value
    made = replace(node.epilogue, **columns)
    if "table" not in found:
        return made
    form, raw = node.output, np.array(found["table"], np.int64)
    wire = raw - (raw >> (form.bits - 1) << form.bits if form.signed else 0)
    return replace(made, table=form.from_wire(wire))
