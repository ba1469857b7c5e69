"""What of a picture an output's integers are: brightness, and the eight bits that a screen or a file gets."""

from __future__ import annotations

import numpy as np

from organza.program import Program


def unit_range(program: Program, values: np.ndarray) -> np.ndarray:
    """Real outputs as brightness in [0, 1]: a signed output (tanh) spans [-1, 1], an unsigned one [0, 1].

    Outputs without a table have no natural range; the largest magnitude that the format holds stands for 1.
    """
    fmt = program.output
    reach = 1.0 if program.nodes[-1].epilogue.table is not None else float(fmt.dequantize(np.array(fmt.magnitude)))
    values = np.asarray(values, np.float64) / reach
    return np.clip((values + 1) / 2 if fmt.signed else values, 0, 1)


def to_bytes(program: Program, values: np.ndarray) -> np.ndarray:
    """Real outputs as pixels of eight bits, half up; uint8 of the same shape."""
    return np.floor(unit_range(program, values) * 255 + 0.5).astype(np.uint8)


def screen_channels(values: np.ndarray) -> np.ndarray:
    """Images (N, channels, height, width) as (N, height, width, 1 or 3): three channels are colours, of others the first is grey."""
    return (values if values.shape[1] == 3 else values[:, :1]).transpose(0, 2, 3, 1)
