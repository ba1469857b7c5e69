"""Chips whose weights are loaded, in Verilator."""

import numpy as np
import pytest

from organza.loadable import loadable
from organza.weight_image import Reason
from organza_hw.build import build
from organza_hw.loading.image import loaded_memories, weight_image
from organza_hw.rom import LOADED_MODULE
from organza_sim import api, rtl, testbench
from organza_sim.beats import to_beats
from organza_sim.build_folder import load_build, write_build
from organza_sim.planner import plan_program
from tests.loadable_programs import other_weights
from tests.tiny import LANES, tiny_inputs, tiny_program


@pytest.fixture(scope="module")
def chip():
    program = loadable(tiny_program())
    return build(program, plan_program(program, LANES))


def test_two_programs_on_one_chip(chip):
    """Both bit-exact and cycle-exact; neither is in the bitstream."""
    other, x = other_weights(np.random.default_rng(1), chip.program), tiny_inputs(3)
    assert chip.files == {}
    for weights in (None, other, None):
        made = api.simulate(chip, x, weights=weights)
        assert np.array_equal(made.outputs, (weights or tiny_program()).run(x))
        assert (made.latency, made.interval) == (chip.plan.cycles, chip.plan.interval)
    assert not np.array_equal(other.run(x), tiny_program().run(x))


def test_whole_images_only(chip):
    """What was interrupted counts for nothing; the next whole image does."""
    image, x = weight_image(chip.program, chip.plan), tiny_inputs(1)
    simulator = rtl.build(chip.verilog())
    i, *_, o = api.joint_beats(chip)
    beats, last = to_beats(x, chip.plan.joints[0].n)
    wanted, _ = to_beats(chip.program.run(x), chip.plan.joints[-1].n)
    other = weight_image(chip.program, chip.plan, other_weights(np.random.default_rng(1), chip.program))

    def run(*images):
        return rtl.run(simulator, beats, last, i=i, o=o, outputs=len(wanted), images=images)

    for images in ([image], [image[:100], image], [other, image], [other, other[:40], image], [b"\0\0", image]):
        assert np.array_equal(run(*images).outputs, wanted)
    for images, message in (
        ([image[:-1]], "the image was not complete"), ([image, other[:-1]], "the image was not complete"),
        ([image[:-1] + bytes([image[-1] ^ 1])], Reason.CRC.text), ([b"\0" + image], Reason.MAGIC.text),
        ([image, image[:4] + b"\2" + image[5:]], Reason.VERSION.text), ([image[:5] + b"\0\0" + image[7:]], Reason.SHAPE.text),
        ([image[:13] + b"\0\0" + image[15:]], Reason.LENGTH.text),
    ):  # fmt: skip
        with pytest.raises(rtl.RtlError, match=f"^weights were refused: {message}$") as caught:
            run(*images)
        assert caught.value.kind == "refused" and caught.value.run is not None and len(caught.value.run.outputs) == 0
    with pytest.raises(ValueError, match=r"^Accelerator must be run with images of weights$"):
        run()


def test_weights_for_a_chip_that_loads_none():
    program = tiny_program()
    chip = build(program, plan_program(program, LANES))
    with pytest.raises(ValueError, match=r"^Chip must load its weights to be run with others$"):
        api.simulate(chip, tiny_inputs(1), weights=program)


def test_verilog(chip):
    """The Verilog of a chip that loads nothing has none of it."""
    assert chip.source.count(f"module {LOADED_MODULE} ") == 1 and "load__valid" in chip.source
    program = tiny_program()
    text = build(program, plan_program(program, LANES)).source
    assert LOADED_MODULE not in text and "load__valid" not in text
    assert chip.memory_bits == sum(width * depth for width, depth in loaded_memories(chip.program, chip.plan).values())


@pytest.mark.parametrize("stalls", [False, True])
def test_plain_testbench(chip, tmp_path, stalls):
    """It loads the weights by itself; it says so when they are refused."""
    write_build(tmp_path, chip, tiny_inputs(2))
    bench = testbench.Testbench(tmp_path, ("generator.v",))
    assert testbench.simulate(bench, stalls=stalls).message.startswith("PASS ")
    found = load_build(tmp_path)
    assert found.edited == () and found.wrong_words == () and found.chip.files == {}
    lines = (tmp_path / "tb_load.hex").read_text().splitlines()
    (tmp_path / "tb_load.hex").write_text("\n".join([*lines[:50], f"{int(lines[50], 16) ^ 1:03x}", *lines[51:]]) + "\n")
    with pytest.raises(testbench.TestbenchError, match=rf"^weights were refused for reason {Reason.CRC}, cycle "):
        testbench.simulate(bench, stalls=stalls)
    (tmp_path / "weights.bin").write_bytes(b"")
    assert load_build(tmp_path).edited == ("weights.bin",)
