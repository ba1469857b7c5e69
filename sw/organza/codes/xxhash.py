"""xxHash32, Yann Collet's fast hash: of bytes, and of pairs of 32-bit numbers by the million."""

from __future__ import annotations

import numpy as np

PRIMES = (2654435761, 2246822519, 3266489917, 668265263, 374761393)
MASK = (1 << 32) - 1


def rotate(h: int, bits: int) -> int:
    """`h`, 32 bits, turned left."""
    return (h << bits | h >> (32 - bits)) & MASK


def xxh32(octets: bytes, seed: int = 0) -> int:
    """xxHash32 of any bytes."""
    p1, p2, p3, p4, p5 = PRIMES
    at, length = 0, len(octets)

    def word() -> int:
        return int.from_bytes(octets[at : at + 4], "little")

    if length >= 16:
        lanes = [seed + p1 + p2, seed + p2, seed, seed - p1]
        while at + 16 <= length:
            for k in range(4):
                lanes[k] = rotate((lanes[k] + word() * p2) & MASK, 13) * p1 & MASK
                at += 4
        h = sum(rotate(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True))
    else:
        h = seed + p5
    h = (h + length) & MASK
    while at + 4 <= length:
        h = rotate((h + word() * p3) & MASK, 17) * p4 & MASK
        at += 4
    for octet in octets[at:]:
        h = rotate((h + octet * p5) & MASK, 11) * p1 & MASK
    h = (h ^ h >> 15) * p2 & MASK
    h = (h ^ h >> 13) * p3 & MASK
    return h ^ h >> 16


def xxh32_pairs(first: np.ndarray, second: np.ndarray, seed: int) -> np.ndarray:
    """xxHash32 of the 8 bytes of every pair, each number in 4 bytes, little endian; uint64."""
    _, p2, p3, p4, _ = (np.uint64(prime) for prime in PRIMES)
    mask = np.uint64(MASK)
    shift = {k: np.uint64(k) for k in (13, 15, 16, 17)}
    h = np.uint64((seed + PRIMES[4] + 8) & MASK)
    for part in (first, second):
        h = (h + part.astype(np.uint64) * p3) & mask
        h = (h << shift[17] | h >> shift[15]) & mask
        h = h * p4 & mask
    h = (h ^ h >> shift[15]) * p2 & mask
    h = (h ^ h >> shift[13]) * p3 & mask
    return h ^ h >> shift[16]
