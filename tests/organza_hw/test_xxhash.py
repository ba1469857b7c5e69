# amaranth: UnusedElaboratable=no
"""The pipeline against the software, which is checked against published values."""

import numpy as np
import pytest

from organza_hw.xxhash import HashPairs
from organza_sim.pysim import trace_cycles


@pytest.mark.parametrize("stall", [0, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 77, 2**32 - 1])
def test_hashes(seed, stall):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 1 << 32, (120, 2)).tolist()
    keys[:4] = [[0, 0], [0, 2**32 - 1], [2**32 - 1, 0], [2**32 - 1, 2**32 - 1]]
    enables = (rng.random(400) >= stall).astype(int).tolist()
    component, place = HashPairs(seed), 0

    def drive():
        nonlocal place
        for enable in enables:
            key = keys[min(place, len(keys) - 1)]
            yield {"enable": enable, "first": key[0], "second": key[1]}
            place += enable

    seen = trace_cycles(component, drive(), ["hash"])
    given = [value for (value,), enable in zip(seen, enables, strict=True) if enable]
    wanted = [component.compute(*key) for key in keys]
    assert given[HashPairs.LATENCY :][: len(keys)] == wanted
