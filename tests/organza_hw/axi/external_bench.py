"""cocotb bench of a chip whose first layer has its weights from a memory beside it, with the parameters of `tests.organza_hw.axi.bench`, and in its file
``words``: the words of an image in bytes, as hexadecimal text."""

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSource

from tests.organza_hw.axi.bench import STREAM, Bench, Watch, pauses


class Memory:
    """Sends the frame of all words over and over, with pauses at random."""

    def __init__(self, bench, stall):
        dut, self.frame = bench.dut, bytes.fromhex(bench.given["words"])
        bus = AxiStreamBus.from_prefix(dut, "s_axis_weights0")
        self.source = AxiStreamSource(bus, dut.aclk, reset=dut.aresetn, reset_active_level=False)
        self.source.set_pause_generator(pauses(stall, 90))
        self.watch = Watch(dut, "s_axis_weights0", STREAM, "_t")

    async def run(self):
        """Out of reset."""
        while True:
            await self.source.send(AxiStreamFrame(self.frame))
            await self.source.wait()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize((("stall", "late"), [(0.0, 0.0), (0.4, 0.7)]))
async def words(dut, stall, late):
    """Images are right whenever the words come; a soft reset cuts what is on its way, and the next ones are right again."""
    bench = Bench(dut, stall=stall, seed=100)
    memory = Memory(bench, late)
    await bench.start()
    cocotb.start_soon(memory.run())
    for turn in range(3):
        for frame in bench.inputs:
            bench.source.send_nowait(frame)
        assert await bench.receive(len(bench.inputs)) == bench.outputs
        assert await bench.counters() == [len(bench.inputs)] * 2 + [0]
        assert not (await bench.read("STATUS"))["damaged"]
        bench.source.send_nowait(bench.inputs[turn])
        await ClockCycles(dut.aclk, 7 + 20 * turn)
        await bench.soft_reset()
        await bench.silence()
        while not bench.sink.empty():
            bench.sink.recv_nowait()
    assert memory.watch.passed


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def lost(dut):
    """A frame of words that is one short: the register says which layer, and no image is sent until a reset."""
    bench = Bench(dut, seed=110)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_weights0"), dut.aclk, reset=dut.aresetn, reset_active_level=False)
    await bench.start()
    whole = bytes.fromhex(bench.given["words"])
    size = len(dut.s_axis_weights0_tkeep)
    source.send_nowait(AxiStreamFrame(whole[size:]))
    bench.source.send_nowait(bench.inputs[0])
    await bench.silence()
    assert (await bench.read("STATUS"))["damaged"] == 1 and (await bench.read("DAMAGED"))["layers"] & 1
    await bench.soft_reset()
    assert (await bench.read("STATUS"))["damaged"] == 0
    for _ in range(4):
        source.send_nowait(AxiStreamFrame(whole))
    bench.source.send_nowait(bench.inputs[1])
    assert await bench.receive(1) == [bench.outputs[1]]
