"""Chips whose weights are loaded at run time: what is fixed when they are built, and which Programs they can run.

Geometry, code, formats, clamp bounds, lanes and the longest table are fixed, and with them the widths of all sums, which hold
the worst weights of the code. Weights, biases, multipliers, shifts, centroids and tables come in an image
(`organza.weight_image`), which also a Program of other weights has, if it fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, replace

import numpy as np

from organza.codes import Code, Codebook
from organza.epilogue import MAX_BIAS_BITS, Epilogue
from organza.formats import Format, Managed, Sign
from organza.managed_epilogue import ManagedEpilogue
from organza.plan import Plan
from organza.program import Convolve, Program
from organza.weight_image import SHAPE_BYTES, VERSION


def loadable(program: Program, layers: Collection[str] | None = None) -> Program:
    """The same Program with weights that are loaded at run time, of these layers or of all.

    A loaded bias has as many bits as the sums without it, or as its layer's biases already need.

    Raises ValueError naming a layer that does not exist, or whose code cannot be loaded.
    """
    names = [node.name for node in program.nodes]
    unknown = sorted(set(layers or ()) - set(names))
    if unknown:
        raise ValueError(f"Program has no layer {unknown[0]!r} to load; it has {', '.join(names)}")
    return Program(tuple(_loaded(node) if layers is None or node.name in layers else node for node in program.nodes))


def _loaded(node: Convolve) -> Convolve:
    bias = node.epilogue.bias
    own = max(max(int(value) if value >= 0 else -int(value) - 1 for value in (bias.min(), bias.max())).bit_length() + 1, 2)
    return replace(node, loads=min(max(own, replace(node, loads=own).dot_bits), MAX_BIAS_BITS))


def fitted(program: Program, chip: Program) -> Program:
    """`program` with the bounds of the Program that a chip was built for: what the chip computes once it has its weights.

    Layers have the names that they have in the chip. A table for fewer values than the chip's is continued by its ends.

    Raises ValueError naming the layer and what of it is another, or beyond a bound.
    """
    if len(program.nodes) != len(chip.nodes):
        raise ValueError(f"Program to load must have the {len(chip.nodes)} layers of the chip, not {len(program.nodes)}")
    return Program(tuple(map(_fitted, program.nodes, chip.nodes)))


def _fitted(node: Convolve, built: Convolve) -> Convolve:
    name, code = built.name, node.code if built.loads is None else _code(node, built)
    for what, wanted, found in (
        ("vertical geometry", built.y, node.y), ("horizontal geometry", built.x, node.x), ("groups", built.groups, node.groups),
        ("weights of shape", built.code.shape, node.code.shape), ("code", built.code.kind, node.code.kind),
        ("a code with", built.code.fixed, code.fixed), ("input", _wires(built.input), _wires(node.input)),
        ("output", _wires(built.output), _wires(node.output)),
    ):  # fmt: skip
        if wanted != found:
            raise ValueError(f"{name}: the chip is built for {what} {wanted}, not {found}")
    if isinstance(node.epilogue, ManagedEpilogue) != isinstance(built.epilogue, ManagedEpilogue):
        raise ValueError(f"{name}: exponents must be managed like those of the chip")
    if built.loads is None:
        if _digest(node) != _digest(built):
            raise ValueError(f"{name}: its weights are in the bitstream, and are others")
        return replace(built, input=node.input, output=node.output)
    return replace(built, code=code, epilogue=_epilogue(node.epilogue, built), input=node.input, output=node.output)


def _epilogue(epilogue: Epilogue, built: Convolve) -> Epilogue:
    """With the chip's bounds."""
    low, high = built.epilogue.low, built.epilogue.high
    if (epilogue.table is None) != (built.epilogue.table is None):
        raise ValueError(f"{built.name}: the chip is built {'without a' if built.epilogue.table is None else 'for a'} table")
    if epilogue.table is None:
        if (epilogue.low, epilogue.high) != (low, high):
            raise ValueError(f"{built.name}: the chip is built to clamp to {low}…{high}, not {epilogue.low}…{epilogue.high}")
        return epilogue
    if epilogue.low < low or epilogue.high > high:
        raise ValueError(f"{built.name}: table must be within the chip's {low}…{high}, not {epilogue.low}…{epilogue.high}")
    table = np.pad(epilogue.table, (epilogue.low - low, high - epilogue.high), "edge")
    return replace(epilogue, low=low, high=high, table=table)


def _code(node: Convolve, built: Convolve) -> Code:
    """The layer's code as the chip can hold it."""
    code = node.code
    return code.padded(len(built.code.centroids)) if isinstance(code, Codebook) and isinstance(built.code, Codebook) else code


def _wires(form: Format) -> str:
    """What hardware sees of a format."""
    if isinstance(form, Managed):
        return f"exponents by {form.rule}"
    return "signs" if isinstance(form, Sign) else f"{'signed' if form.signed else 'unsigned'} integers of {form.bits} bits"


def _digest(node: Convolve) -> str:
    """Of everything that a layer's memories hold."""
    e = node.epilogue
    arrays = {**node.code.arrays(), "bias": e.bias, "positive": e.positive, "negative": e.negative, "shift": e.shift}
    arrays |= {} if e.table is None else {"table": e.table}
    made = hashlib.sha256(f"{e.low} {e.high} {getattr(e, 'bias_exponent', None)}".encode())
    for name in sorted(arrays):
        made.update(f"{name} {arrays[name].shape}".encode() + np.ascontiguousarray(arrays[name]).astype("<i8").tobytes())
    return made.hexdigest()


def shape_hash(program: Program, plan: Plan) -> bytes:
    """What a chip was built for, in `SHAPE_BYTES` bytes: everything but what is loaded, names and scales. Of a Program that loads."""
    nodes = []
    for node in program.nodes:
        e = node.epilogue
        what = {
            "y": asdict(node.y), "x": asdict(node.x), "groups": node.groups, "weights": node.code.shape, "code": node.code.kind,
            "fixed": node.code.fixed, "input": _wires(node.input), "output": _wires(node.output), "loads": node.loads,
            "low": e.low, "high": e.high, "table": e.table is not None,
        }  # fmt: skip
        nodes.append({**what, "stored": _digest(node)} if node.loads is None else what)
    engines = [{**asdict(engine), "layers": [{**asdict(layer), "node": ""} for layer in engine.layers]} for engine in plan.engines]
    text = json.dumps({"version": VERSION, "nodes": nodes, "engines": engines, "joints": [asdict(joint) for joint in plan.joints]}, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:SHAPE_BYTES]
