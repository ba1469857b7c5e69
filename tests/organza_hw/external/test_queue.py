# amaranth: UnusedElaboratable=no
"""The queue in a block RAM: words in order, as late as it says, however full it is."""

import numpy as np
import pytest

from organza_hw.external.queue import BlockRamQueue
from tests.organza_hw.link.shared import simulate
from tests.organza_hw.patterns import CROSSED, PATTERNS

DEPTH, COUNT = 7, 120


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_words_in_order(idle, pressure):
    dut, words, came = BlockRamQueue(9, DEPTH), np.random.default_rng(0).integers(1 << 9, size=COUNT).tolist(), []
    stalls = PATTERNS[idle], PATTERNS[pressure]

    async def testbench(ctx):
        at, before, marks = 0, None, []
        for cycle in range(20 * COUNT):
            go = at < COUNT and at - len(came) < DEPTH and not stalls[0][cycle % len(stalls[0])]
            ready = not stalls[1][cycle % len(stalls[1])]
            ctx.set(dut.i.valid, go)
            ctx.set(dut.i.payload, words[at] if go else 0)
            ctx.set(dut.o.ready, ready)
            _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            assert before is None or (valid, word) == before
            before = (valid, word) if valid and not ready else None
            if valid and ready:
                marks.append(cycle)
                came.append(word)
            at += go
        if idle == pressure == "never":
            assert marks == [*range(BlockRamQueue.LATENCY, BlockRamQueue.LATENCY + COUNT)]

    simulate(dut, testbench)
    assert came == words
