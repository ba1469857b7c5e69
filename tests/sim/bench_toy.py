"""cocotb bench of the toy: what the generated benches do, in a few lines. See test_cocotb.py."""

import cocotb
import numpy as np

from organza_sim.beats import Beat, last_flags
from organza_sim.benches.stream import (
    StreamMonitor,
    StreamSink,
    StreamSource,
    parameters,
    receive,
    start,
)

BEAT = Beat(4, 9, True)
COUNT = 60


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(source=[0.0, 0.4], sink=[0.0, 0.6])
async def toy(dut, source, sink):
    fault = parameters().get("fault")
    beats = np.random.default_rng(0).integers(-256, 100, (COUNT, 4))
    if fault:
        beats[:: COUNT // 3, 0] = fault
    await start(dut)
    monitors = [StreamMonitor(dut, name, BEAT) for name in "io"]
    StreamSink(dut, "o", stall=sink, seed=1)
    last = last_flags(2, COUNT // 2)
    task = cocotb.start_soon(StreamSource(dut, "i", BEAT, stall=source, seed=2).send(beats, last))
    await receive(dut, monitors[1], COUNT, patience=200)
    await task
    outputs, flags = monitors[1].beats()
    assert np.array_equal(outputs, (beats + 2 + 256) % 512 - 256), "wrong values"
    assert np.array_equal(flags, last), "wrong flags"
    if not source and not sink:
        assert monitors[1].cycles[-1] - monitors[0].cycles[0] == COUNT + 1, "wrong number of cycles"
