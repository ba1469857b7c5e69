"""Idle and back-pressure patterns that every stream is run with, each with each."""

import numpy as np

from organza_sim.rtl import random_stalls

PATTERNS = {
    "never": np.zeros(1, bool),
    "every other": np.array([False, True]),
    "mostly": np.array([True] * 6 + [False]),
    "bursts": np.concatenate([np.array([False] * 9 + [True] * 13), random_stalls(0.5, 11, 97)]),
}
CROSSED = [(idle, pressure) for idle in PATTERNS for pressure in PATTERNS]
