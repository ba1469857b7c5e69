"""Approximate adders: two integers to one that is near their sum, bit by bit as the gateware of the same name makes it.

After Roohi et al., ApGAN, IEEE Transactions on Computers 69(3), 2020. An approximate adder is not associative, so what a
tree makes depends on its shape; `Adder.tree` is the one shape that is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

KINDS = ("exact", "loa", "notcarry")
MOST_LOW = 16  # no activation is wider


@dataclass(frozen=True)
class Adder:
    """An adder whose lowest `low` bits are approximate; the bits above are exact.

    exact : a + b, low = 0.
    loa : low bits are a | b; the bits above get the carry a & b of the highest low bit.
    notcarry : low bits are the inverted carries out of their positions; the carry chain is exact, so the bits above are those of
        a + b. That inverts the bits where a, b and the carry into the position are equal.

    Raises TypeError for a `low` that is no integer, ValueError for an unknown kind or `low` out of range.
    """

    kind: str = "exact"
    low: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"adder must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if isinstance(self.low, bool) or not isinstance(self.low, int):
            raise TypeError(f"adder low bits must be an integer, not {self.low!r}")
        if self.kind == "exact" and self.low:
            raise ValueError(f"exact adder must have 0 low bits, not {self.low}")
        if self.kind != "exact" and not 1 <= self.low <= MOST_LOW:
            raise ValueError(f"{self.kind} adder must have 1 to {MOST_LOW} low bits, not {self.low}")

    def __str__(self) -> str:
        return f"{self.kind}{self.low or ''}"

    @classmethod
    def parse(cls, text: object) -> Adder:
        """Inverse of `str`. Raises TypeError for anything but text, ValueError as the constructor."""
        if not isinstance(text, str):
            raise TypeError(f"adder must be text, not {text!r}")
        found = re.fullmatch(r"([a-z]+)(\d*)", text)
        if found is None:
            raise ValueError(f"adder must be exact, loaN or notcarryN, not {text!r}")
        return cls(found[1], int(found[2] or 0))

    @property
    def exact(self) -> bool:
        """Whether it adds."""
        return self.kind == "exact"

    @property
    def flips(self) -> bool:
        """What the lanes of binary weights have it add: terms with flipped signs, or activations that weights let pass.

        A bit of 0 + 0 is wrong in notcarry and right in loa, so the first suits one and the second the other.
        """
        return self.kind == "notcarry"

    @property
    def error(self) -> int:
        """Largest |compute(a, b) - (a + b)|.

        loa: a + b = (a | b) + (a & b), so that without a carry what is missing is the low part of a & b, below 2**(low - 1);
        with a carry the low part of a & b is at least 2**(low - 1), and 2**low is added for it. notcarry: all low bits.
        """
        return {"exact": 0, "loa": 1 << self.low >> 1, "notcarry": (1 << self.low) - 1}[self.kind]

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What the adder makes of two integer arrays; the dtype must hold twice their values.

        Unsigned and two's complement numbers of any width are the integers that they stand for: a result of w + 1 bits
        always holds what two numbers of w ≥ low bits make.
        """
        if self.exact:
            return a + b
        mask = (1 << self.low) - 1
        if self.kind == "loa":
            # One place lower, for the carry.
            upper = ((a >> (self.low - 1)) + (b >> (self.low - 1))) >> 1
            return (upper << self.low) | ((a | b) & mask)
        total = a + b
        carries = (a & b) | ((a | b) & ~total)
        return (total & ~mask) | (~carries & mask)

    def tree(self, terms: np.ndarray) -> np.ndarray:
        """Terms (n, ...) to one (...): neighbours 0 and 1, 2 and 3, … on every level; the last one of an odd number waits.

        The shape of the lanes' adder trees. There are n - 1 adders.
        """
        while len(terms) > 1:
            even = len(terms) // 2 * 2
            made = self.compute(terms[0:even:2], terms[1:even:2])
            terms = made if even == len(terms) else np.concatenate([made, terms[even:]])
        return terms[0]


EXACT = Adder()
