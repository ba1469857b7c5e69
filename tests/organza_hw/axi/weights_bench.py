"""cocotb bench of a chip that loads its weights through registers, with the parameters of `tests.organza_hw.axi.bench`, and in its file ``weights``: images
of weights with what becomes of the inputs with them, as hexadecimal text."""

import cocotb

from organza.weight_image import CRC_BYTES, Reason
from tests.organza_hw.axi.bench import Bench, frames
from tests.organza_hw.axi.load_bench import load, state

WRONG = {Reason.MAGIC: 0, Reason.VERSION: 4, Reason.SHAPE: 7, Reason.LENGTH: 14, Reason.CRC: 40}  # byte of an image that is changed


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def weights(dut, stall):
    """One after the other, with images that are refused between them."""
    bench = Bench(dut, stall=stall, seed=80)
    await bench.start()
    assert await state(bench) == (1, 1, 0, 0)
    for (text, outputs), (reason, place) in zip(bench.given["weights"], WRONG.items(), strict=True):
        image = bytes.fromhex(text)
        await load(bench, image[:place] + bytes([image[place] ^ 0x40]) + image[place + 1 :])
        assert await state(bench) == (1, 1, 0, reason)
        await load(bench, image)
        assert await state(bench) == (1, 0, 1, 0)
        assert (await bench.read("IMAGE"))["crc"] == int.from_bytes(image[-CRC_BYTES:], "little")
        for frame in bench.inputs:
            bench.source.send_nowait(frame)
        assert await bench.receive(len(bench.inputs)) == frames(outputs)
        assert await bench.counters() == [len(bench.inputs)] * 2 + [0]
