"""Programs on disk: one safetensors file, arrays as tensors, structure and a content hash in its header."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from organza.codes import CODES
from organza.epilogue import Epilogue
from organza.errors import UserError
from organza.formats import restore_format
from organza.geometry import Axis
from organza.managed_epilogue import ManagedEpilogue
from organza.program import Convolve, Program

VERSION = 2
KEY = "organza_program"
ARRAYS = ("bias", "positive", "negative", "shift")


def _pack(program: Program) -> tuple[dict, dict[str, np.ndarray]]:
    nodes, tensors = [], {}
    for index, node in enumerate(program.nodes):
        e = node.epilogue
        nodes.append({
            "name": node.name, "y": asdict(node.y), "x": asdict(node.x), "groups": node.groups,
            "code": {"kind": node.code.kind, **node.code.parameters()},
            "low": e.low, "high": e.high,
            "input": node.input.parameters(), "output": node.output.parameters(),
        })  # fmt: skip
        if isinstance(e, ManagedEpilogue):
            nodes[-1]["bias_exponent"] = e.bias_exponent
        if node.loads is not None:
            nodes[-1]["loads"] = node.loads
        tensors |= {f"{index}.code.{name}": array for name, array in node.code.arrays().items()}
        tensors |= {f"{index}.{name}": getattr(e, name) for name in ARRAYS}
        if e.table is not None:
            tensors[f"{index}.table"] = e.table
    # safetensors writes an array's memory as it lies, whatever its strides say.
    return {"version": VERSION, "nodes": nodes}, {k: np.ascontiguousarray(v) for k, v in tensors.items()}


def _hash(header: dict, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def program_hash(program: Program) -> str:
    """SHA-256 of everything the Program means, as 64 hexadecimal digits."""
    return _hash(*_pack(program))


def save_program(program: Program, path: str | Path) -> None:
    """Write `program` to `path`, completely or not at all."""
    header, tensors = _pack(program)
    header = {**header, "hash": _hash(header, tensors)}
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(save(tensors, metadata={KEY: json.dumps(header, sort_keys=True)}))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_program(path: str | Path) -> Program:
    """Read a Program.

    Raises `UserError` naming the file when it is no Program, of another version, damaged or inconsistent.
    """
    path = Path(path)
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error}); build the Program again") from error
    if KEY not in metadata:
        raise UserError(f"{path}: not a Program (no '{KEY}' in its header); make one with 'organza build'")
    try:
        header = json.loads(metadata[KEY])
        version, stated = header["version"], header.pop("hash")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: the Program header is damaged; build the Program again") from error
    if version != VERSION:
        raise UserError(f"{path}: Program version must be {VERSION}, not {version!r}; build the Program again")
    if _hash(header, tensors) != stated:
        raise UserError(f"{path}: content does not match its hash (damaged file); build the Program again")
    try:
        return Program(tuple(_unpack(index, node, tensors) for index, node in enumerate(header["nodes"])))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: inconsistent Program: {error}") from error


def _unpack(index: int, node: dict, tensors: dict[str, np.ndarray]) -> Convolve:
    parameters = dict(node["code"])
    kind = parameters.pop("kind")
    if kind not in CODES:
        raise ValueError(f"{node['name']}: unknown weight code {kind!r}")
    prefix = f"{index}.code."
    coded = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    code = CODES[kind].restore(parameters, coded)
    if code.parameters() != parameters:
        raise ValueError(f"{node['name']}: code must state {sorted(code.parameters())}, not {sorted(parameters)}")
    rule: dict[str, Any] = {name: tensors[f"{index}.{name}"] for name in ARRAYS}
    rule |= {"low": node["low"], "high": node["high"], "table": tensors.get(f"{index}.table")}
    managed = "bias_exponent" in node
    return Convolve(
        name=node["name"],
        y=Axis(**node["y"]),
        x=Axis(**node["x"]),
        groups=node["groups"],
        code=code,
        epilogue=ManagedEpilogue(**rule, bias_exponent=node["bias_exponent"]) if managed else Epilogue(**rule),
        input=restore_format(node["input"]),
        output=restore_format(node["output"]),
        loads=node.get("loads"),
    )
