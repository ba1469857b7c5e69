"""A Program of the right shapes and codes for the cycle model, before there are integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.float_layers import FloatLayer
from organza.formats import Fixed
from organza.program import Convolve, Program
from organza.quantize import ACTIVATION_BITS

# What layers cost: cycles, MACs, or anything else that a search is to keep small.
Cost = Callable[[Sequence[FloatLayer]], float]


def sketch(layers: Sequence[FloatLayer]) -> Program:
    """The Program that `layers` will have, as far as cycles depend on it: shapes, codes of those that have one, 8-bit linear
    weights of the others. Its results mean nothing.
    """
    nodes, fmt = [], Fixed(ACTIVATION_BITS, True, 1.0)
    for layer in layers:
        ones = np.ones(layer.co, np.int64)
        output = Fixed(layer.bits or ACTIVATION_BITS, True, 1.0)
        code = layer.coded.code if layer.coded else Linear(np.ones(layer.weights.shape, np.int64))
        nodes.append(Convolve(
            name=layer.name, y=layer.y, x=layer.x, groups=layer.groups, code=code,
            epilogue=Epilogue(0 * ones, ones, ones, 0 * ones, output.low, output.high), input=fmt, output=output,
        ))  # fmt: skip
        fmt = output
    return Program(tuple(nodes))


def macs(layers: Sequence[FloatLayer]) -> float:
    """Multiplications of an image with weights that are not 0: the cost of a search that knows no accelerator."""
    return float(sum(layer.macs for layer in layers))
