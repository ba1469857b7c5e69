"""Random Programs whose weights are loaded at run time, and others that fit the same chip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from organza.codes import BlockHash, Code, Codebook, Hashed, MultiHash, Ternary
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.loadable import loadable
from organza.program import Convolve, Program
from organza_sim.pysim import send_image
from tests.strategies import random_program

KINDS = ("linear", "affine", "power", "ternary", "binary", "approximate", "flexpoint", "codebook", "blockhash", "hashed", "multihash")


def random_loadable(rng: np.random.Generator, kind: str, layers: int = 2, **limits) -> Program:
    """A chain of layers of one kind of code, all of them loaded."""
    return loadable(random_program(rng, layers, code=kind, **limits))


def other_weights(rng: np.random.Generator, program: Program) -> Program:
    """Everything that an image of this Program holds drawn anew; a Program that nobody meant to load."""
    return Program(tuple(node if node.loads is None else _other(rng, node) for node in program.nodes))


def _other(rng: np.random.Generator, node: Convolve) -> Convolve:
    assert node.loads is not None
    e, bound = node.epilogue, 1 << (node.loads - 1)
    epilogue = replace(
        e, bias=rng.integers(-bound, bound, node.co), positive=rng.integers(-(1 << 15), 1 << 15, node.co),
        negative=rng.integers(-(1 << 15), 1 << 15, node.co), shift=rng.integers(0, 48, node.co),
        table=None if e.table is None else rng.permutation(e.table),
    )  # fmt: skip
    return replace(node, name=f"other {node.name}", code=_other_code(rng, node.code), epilogue=epilogue, loads=None)


def _other_code(rng: np.random.Generator, code: Any) -> Code:
    if isinstance(code, BlockHash):
        return replace(code, rows=rng.integers(-127, 128, code.rows.shape))
    if isinstance(code, Hashed):
        return replace(code, buckets=rng.integers(-127, 128, len(code.buckets)))
    if isinstance(code, MultiHash):
        return replace(code, left=-code.left, right=rng.permutation(code.right))
    if isinstance(code, Codebook):
        count = int(rng.integers(2, len(code.centroids) + 1))  # fewer will do
        centroids = np.sort(rng.choice(np.arange(-128, 128), count, replace=False))
        return Codebook(rng.integers(0, count, code.shape), centroids)
    return code.of_fields(rng.permutation(code.fields().reshape(-1)).reshape(code.shape))  # fields that exist


def use_of(rng: np.random.Generator, image: bytes, cycles: int):
    """What happened to a chip before other weights come: it loaded an image, and was in the middle of whatever came out of random inputs."""

    async def use(ctx, pipeline):
        await send_image(ctx, pipeline, image)
        assert ctx.get(pipeline.loaded)
        payload = pipeline.i.payload.as_value()
        for _ in range(cycles):
            ctx.set(payload, int.from_bytes(rng.bytes(-(-len(payload) // 8)), "little") % (1 << len(payload)))
            ctx.set(pipeline.i.valid, int(rng.random() < 0.9))
            ctx.set(pipeline.o.ready, int(rng.random() < 0.9))
            await ctx.tick()
        ctx.set(pipeline.i.valid, 0)

    return use


def ternary_program() -> Program:
    """16×1×1 → 16×4×4 → 3×8×8, the weights of the first layer far too many for a block RAM; five in a byte."""
    rng, number = np.random.default_rng(2), Fixed(8, True, 1 / 32)

    def layer(name, ci, co, axis, output):
        shift, m = rng.integers(8, 11, co), rng.integers(20, 99, co)
        return Convolve(
            name=name, y=axis, x=axis, groups=1, code=Ternary(rng.integers(-1, 2, (ci, co, 4, 4)), 5), input=number, output=output,
            epilogue=Epilogue(rng.integers(-99, 99, co), m, m // 4, shift, -128, 127),
        )  # fmt: skip

    up = Axis(size=4, kernel=4, up=2, crop_before=1, crop_after=1)
    return Program((layer("first", 16, 16, Axis(size=1, kernel=4), number), layer("second", 16, 3, up, number)))
