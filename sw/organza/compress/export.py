"""From a chain to its Program, with the codes that stages have chosen."""

from __future__ import annotations

from torch import Tensor

from organza.compress.chain import Chain
from organza.program import Program
from organza.quantize import CALIBRATION_IMAGES, quantize


def on_chip(chain: Chain) -> bool:
    """Whether every layer's code has lanes; floating-point baselines have none."""
    return all(layer.coder is None or layer.coder.chip for layer in chain.list)


def to_program(chain: Chain, latents: Tensor) -> Program:
    """The integers of `chain`, calibrated on latents (N, channels, height, width). Layers without a code get 8 linear bits.

    Raises `UserError` naming the layer for a code that does not suit it, ValueError for codes without lanes.
    """
    if not on_chip(chain):
        kinds = ", ".join(sorted({layer.coder.kind for layer in chain.list if layer.coder and not layer.coder.chip}))
        raise ValueError(f"codes must have lanes on the chip, not {kinds}")
    return quantize(chain.float_layers(), latents[:CALIBRATION_IMAGES].double().numpy())
