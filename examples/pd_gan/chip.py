"""The two products of PD-GAN on the accelerator: relevance σ(P_u·Qᵀ + b) and Gram rows V·v_i, each a 1×1 layer.

What is left, the greedy choice of a list, is a handful of vector operations a step and stays on the host.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from examples.pd_gan.dpp import greedy_list
from organza.codes.spec import parse_codes
from organza.formats import Fixed
from organza.lowering import fold_generator
from organza.program import Program
from organza.quantize import quantize

BITS = 16


def product(matrix: np.ndarray, bias: np.ndarray, inputs: np.ndarray, *, sigmoid: bool, code: str = "flexpoint") -> Program:
    """The Program of x ↦ matrix·x + bias, through a sigmoid or not, with 16-bit results.

    matrix (outputs, features), bias (outputs,), inputs (N, features) to calibrate on. code : of the weights, as `organza build
    --code` takes it; flexpoint also has inputs of 16 bits.
    """
    layer = nn.Linear(matrix.shape[1], len(matrix))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(matrix))
        layer.bias.copy_(torch.from_numpy(bias))
    module = nn.Sequential(layer, nn.Sigmoid()) if sigmoid else nn.Sequential(layer)
    layers, values = fold_generator(module, inputs.astype(np.float32))
    layers = [dataclasses.replace(one, bits=BITS) for one in layers]
    return quantize(layers, values, codes=parse_codes(code, [one.name for one in layers]))


@dataclasses.dataclass(frozen=True, eq=False)
class Chips:
    """Both Programs, with the real factors that their inputs come from.

    people : P (users, features). factor : V (items, d).
    """

    relevance: Program
    gram: Program
    people: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, p: np.ndarray, q: np.ndarray, b: np.ndarray, factor: np.ndarray, code: str = "flexpoint") -> Chips:
        """For trained P, Q, b and V."""
        return cls(
            product(q, b, p, sigmoid=True, code=code),
            product(factor, np.zeros(len(factor)), factor, sigmoid=False, code=code), p, factor,
        )  # fmt: skip

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Integer inputs of both: every user, every item; (N, features, 1, 1)."""
        users, items = self.people[:, :, None, None], self.factor[:, :, None, None]
        return self.relevance.quantize(users), self.gram.quantize(items)

    def lists(self, length: int) -> list[list[int]]:
        """A list for every user, all products in the integers of the chip."""
        users, items = self.inputs()
        relevance = self.relevance.dequantize(self.relevance.run(users))[:, :, 0, 0]
        rows = self.gram.dequantize(self.gram.run(items))[:, :, 0, 0]
        assert isinstance(self.relevance.output, Fixed)
        least = 0.5 * self.relevance.output.scale  # a relevance that rounds to 0 is still above it
        return [
            greedy_list(np.maximum(own, least), np.diag(rows).copy(), lambda item: rows[item], length) for own in relevance
        ]
