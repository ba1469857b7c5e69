"""Random Programs whose weights are loaded at run time, and others that fit the same chip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from organza.loadable import loadable
from organza.program import Convolve, Program
from tests.strategies import random_program

KINDS = ("linear", "affine", "power", "ternary", "binary", "approximate", "flexpoint")


def random_loadable(rng: np.random.Generator, kind: str, layers: int = 2, **limits) -> Program:
    """A chain of layers of one kind of code, all of them loaded."""
    return loadable(random_program(rng, layers, code=kind, **limits))


def other_weights(rng: np.random.Generator, program: Program) -> Program:
    """Everything that an image holds drawn anew; a Program that nobody meant to load."""
    return Program(tuple(_other(rng, node) for node in program.nodes))


def _other(rng: np.random.Generator, node: Convolve) -> Convolve:
    code: Any = node.code
    fields = rng.permutation(code.fields().reshape(-1)).reshape(code.shape)  # fields that exist
    e, bound = node.epilogue, 1 << ((node.loads or 1) - 1)
    epilogue = replace(
        e, bias=rng.integers(-bound, bound, node.co), positive=rng.integers(-(1 << 15), 1 << 15, node.co),
        negative=rng.integers(-(1 << 15), 1 << 15, node.co), shift=rng.integers(0, 48, node.co),
        table=None if e.table is None else rng.permutation(e.table),
    )  # fmt: skip
    return replace(node, name=f"other {node.name}", code=code.of_fields(fields), epilogue=epilogue, loads=None)
