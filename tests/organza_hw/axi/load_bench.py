"""cocotb bench of weights that are loaded through registers, with the parameters of `tests.organza_hw.axi.bench`."""

import cocotb
from cocotb.triggers import ClockCycles

from organza.registers import register
from tests.organza_hw.axi.bench import Bench
from tests.organza_hw.axi.loading import LENGTH, REFUSAL, image

FIRST, MORE = register("LOAD_FIRST").at(), register("LOAD").at()


async def load(bench, octets, sizes=(4,)):
    """Write the bytes of an image, so many with each write, at the place in a word that they have in the image."""
    start, turn = 0, 0
    while start < len(octets):
        size = min(sizes[turn % len(sizes)], 4 - start % 4)
        await bench.write((MORE if start else FIRST) + start % 4, octets[start : start + size])
        start, turn = start + size, turn + 1
    await ClockCycles(bench.dut.aclk, 20)


async def state(bench):
    status, loading = await bench.read("STATUS"), await bench.read("LOADING")
    return status["loads"], status["unloaded"], loading["loaded"], loading["refusal"]


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def loaded(dut, stall):
    """Nothing is taken before there are weights, and images are right with them; byte by byte or word by word."""
    bench = Bench(dut, stall=stall, seed=60)
    await bench.start()
    assert await state(bench) == (1, 1, 0, 0)
    count = 0
    for number, sizes in enumerate([(4,), (1,), (2, 1), (3, 4)]):
        bench.source.send_nowait(bench.inputs[number])
        await bench.silence()
        assert not bench.watches["s_axis"].passed[count:], "an input was taken without weights"
        await load(bench, image(number), sizes)
        assert await state(bench) == (1, 0, 1, 0)
        assert (await bench.read("IMAGE"))["crc"] == int.from_bytes(image(number)[-4:], "big")
        assert await bench.receive(1) == [bench.outputs[number]]
        await load(bench, b"\1" * LENGTH)
        assert await state(bench) == (1, 1, 0, REFUSAL)
        count = len(bench.watches["s_axis"].passed)
    for offset in (FIRST, MORE):
        assert await bench.word(offset) == 0


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def reloaded(dut, stall):
    """New weights, or a soft reset, in the middle of an output: it is cut as by a reset, and the next ones are right."""
    bench = Bench(dut, stall=stall, lite=0.0, seed=70)
    await bench.start()
    cuts = 0
    for number in range(6):
        await load(bench, image(1))
        bench.source.send_nowait(bench.inputs[number])
        while len(bench.watches["m_axis"].passed) % len(bench.outputs[0]) <= number:
            await ClockCycles(dut.aclk, 1)
        if number % 2:
            await bench.soft_reset()
            assert await state(bench) == (1, 1, 0, 0)
        await load(bench, image(2))
        (frame,) = await bench.receive(1)
        assert bench.outputs[number].startswith(frame)
        cuts += frame != bench.outputs[number]
        assert await bench.counters() == [0, 0, 0]
        bench.source.send_nowait(bench.inputs[number])
        assert await bench.receive(1) == [bench.outputs[number]]
        await load(bench, image(3)[:-1])
        assert await state(bench) == (1, 1, 0, 0)
        bench.watches["m_axis"].passed.clear()
    assert cuts
