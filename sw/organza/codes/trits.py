"""Five ternary digits in a byte: 1.6 instead of 2 bits a weight.

The byte is ceil(v · 256 / 243) for the number v of five digits, first digit highest. Multiplied by 3, its carry out of eight
bits is the first digit and the rest again such a byte, so that a decoder is five additions and no division.
"""

from __future__ import annotations

import numpy as np

TRITS = 5
BYTE = 8


def trit_bytes(digits: np.ndarray) -> np.ndarray:
    """Bytes (..., n) of digits 0, 1, 2 (..., 5·n), int64."""
    powers = 3 ** np.arange(TRITS - 1, -1, -1)
    numbers = digits.reshape(*digits.shape[:-1], -1, TRITS) @ powers
    return -(-numbers * 256 // 3**TRITS)


def bytes_of(count: int) -> int:
    """Bytes that hold `count` digits."""
    return -(-count // TRITS)
