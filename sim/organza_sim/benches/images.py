"""cocotb bench of anything between two joints, from one layer to a whole model.

Its parameters name a folder with ``beats.npy``, ``last.npy`` and the beats that must come,
``wanted.npy`` and ``wanted_last.npy``; say the formats of the streams; and give ``cycles``, from
the first input beat to the last output beat, or null where pauses make them unknown.
"""

from pathlib import Path

import cocotb
import numpy as np

from organza_sim.beats import Beat
from organza_sim.benches.stream import (
    StreamMonitor,
    StreamSink,
    StreamSource,
    parameters,
    receive,
    start,
)


async def _run(dut, stall_in: float, stall_out: float) -> tuple[StreamMonitor, StreamMonitor]:
    given = parameters()
    folder = Path(given["data"])
    beats, last, wanted, wanted_last = (
        np.load(folder / f"{name}.npy") for name in ("beats", "last", "wanted", "wanted_last")
    )
    await start(dut)
    i, o = (
        StreamMonitor(dut, name, beat)
        for name, beat in (("i", Beat(*given["i"])), ("o", Beat(*given["o"])))
    )
    StreamSink(dut, "o", stall=stall_out, seed=2)
    cocotb.start_soon(StreamSource(dut, "i", i._beat, stall=stall_in, seed=1).send(beats, last))
    await receive(dut, o, len(wanted), patience=given["patience"])
    values, flags = o.beats()
    assert np.array_equal(values, wanted), f"{(values != wanted).any(1).sum()} beats are wrong"
    assert np.array_equal(flags, wanted_last), "the last flag is on a wrong beat"
    assert len(i) == len(beats), f"{len(i)} of {len(beats)} beats were taken"
    return i, o


@cocotb.test()
async def free(dut):
    """Source always valid, sink always ready: exactly the modelled cycles."""
    i, o = await _run(dut, 0.0, 0.0)
    cycles = o.cycles[-1] - i.cycles[0]
    assert cycles == parameters()["cycles"], (
        f"{cycles} cycles instead of {parameters()['cycles']}"
    )


@cocotb.test()
async def stalled(dut):
    """Random pauses on both sides: the same data, not earlier."""
    for stall_in, stall_out in ((0.5, 0.5), (0.1, 0.7), (0.7, 0.1)):
        i, o = await _run(dut, stall_in, stall_out)
        assert o.cycles[-1] - i.cycles[0] >= parameters()["cycles"]
