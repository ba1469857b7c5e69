"""The smallest design that has everything a build folder needs: two layers, a table, a ring of several rows."""

from __future__ import annotations

import numpy as np

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve, Program

LANES = 6


def tiny_program() -> Program:
    """4×1×1 → 3×3×3 → 1×6×6, the same every time: ReLU, then tanh from a table."""
    rng = np.random.default_rng(5)
    ones = np.ones(3, np.int64)
    first = Axis(size=1, kernel=3)
    second = Axis(size=3, kernel=4, up=2, crop_before=1, crop_after=1)
    hidden = Fixed(8, False, 1 / 32)
    table = np.floor(np.tanh(np.arange(-128, 128) / 40) * 127 + 0.5).astype(np.int64)
    return Program(
        (
            Convolve(
                name="net.0",
                y=first,
                x=first,
                groups=1,
                code=Linear(rng.integers(-127, 128, (4, 3, 3, 3))),
                epilogue=Epilogue(
                    rng.integers(-99, 99, 3), ones << 14, 0 * ones, 20 * ones, 0, 255
                ),
                input=Fixed(8, True, 1 / 32),
                output=hidden,
            ),
            Convolve(
                name="net.3",
                y=second,
                x=second,
                groups=1,
                code=Linear(rng.integers(-127, 128, (3, 1, 4, 4))),
                epilogue=Epilogue(
                    0 * ones[:1], ones[:1] << 14, ones[:1] << 14, 22 * ones[:1], -128, 127, table
                ),
                input=hidden,
                output=Fixed(8, True, 1 / 127),
            ),
        )
    )


def tiny_inputs(count: int) -> np.ndarray:
    """Integer inputs (count, 4, 1, 1) over the whole range."""
    return np.random.default_rng(6).integers(-128, 128, (count, 4, 1, 1))
