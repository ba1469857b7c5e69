# amaranth: UnusedElaboratable=no
"""Words beside a pipeline: first in, first out, at any rate, up to the most that wait."""

import numpy as np
import pytest
from amaranth.lib import data

from organza_hw.shared.side_queue import SideQueue
from organza_sim.pysim import trace_cycles


@pytest.mark.parametrize("words", [1, 2, 3, 8, 9])
def test_words_in_order(words):
    rng = np.random.default_rng(words)
    layout = data.StructLayout({"a": 5, "b": 3})
    waiting: list[tuple[int, int]] = []
    inputs, wanted, o = [], [], None
    for cycle in range(400):
        # Full for a while, empty for a while, and both in the same cycle.
        read = bool(waiting) and rng.random() < (0.3 if cycle % 80 < 40 else 0.9)
        write = len(waiting) - read < words and rng.random() < 0.7
        word = int(rng.integers(32)), int(rng.integers(8))
        inputs.append({"write": int(write), "i": layout.const({"a": word[0], "b": word[1]}), "read": int(read)})
        wanted.append(o)
        o = waiting.pop(0) if read else o
        waiting += [word] if write else []
    component = SideQueue(layout, words=words)
    seen = trace_cycles(component, inputs, ["o"])
    assert len({cycle for cycle, word in enumerate(wanted) if word}) > 200
    for (got,), good in zip(seen, wanted, strict=True):
        if good is not None:
            assert (got["a"], got["b"]) == good
