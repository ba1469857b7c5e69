"""`verify` finds what is wrong, and says where."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from organza_hw.build import Chip
from organza_sim import api
from organza_sim.build_folder import write_build
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from organza_sim.rtl import random_stalls
from organza_sim.verify import verify
from tests.tiny import LANES, tiny_inputs, tiny_program

pytestmark = pytest.mark.rtl


@pytest.fixture(scope="module")
def chip() -> Chip:
    return api.build(tiny_program(), lanes=LANES)


def test_a_right_chip_passes(chip: Chip) -> None:
    x = tiny_inputs(5)
    result = verify(chip, x)
    timing = simulate_cycles(chip.program, chip.plan, 5)
    assert result.passed and result.bit_exact and result.cycle_exact and result.first is None
    assert [image.cycle for image in result.images] == [sent - timing.first for sent in timing.sent]
    assert [layer.values for layer in result.layers] == [5 * 27, 5 * 36]
    assert all(layer.wrong == 0 for layer in result.layers)
    simulation = result.simulation
    assert simulation is not None
    assert (simulation.outputs == chip.program.run(x)).all()
    assert (simulation.cycles, simulation.latency, simulation.interval) == (
        timing.cycles,
        timing.latency,
        timing.interval,
    )
    between = simulation.image_ends[-1] - simulation.image_ends[0]
    assert simulation.utilization == pytest.approx(
        4 * chip.program.macs / (chip.plan.lanes * between)
    )


def test_simulate_takes_real_inputs_and_stalls(chip: Chip, tmp_path: Path) -> None:
    real = np.random.default_rng(0).normal(size=(3, 4))
    integers = chip.program.quantize(real[:, :, None, None])
    free = api.simulate(chip, real)
    stalled = api.simulate(
        chip, integers, stalls=(random_stalls(0.4, 1), random_stalls(0.6, 2)), joints=True
    )
    assert (free.outputs == chip.program.run(integers)).all()
    assert (stalled.outputs == free.outputs).all()
    assert stalled.cycles > free.cycles
    assert sorted(stalled.joints) == [0, 1, 2] and not free.joints
    single = api.simulate(chip, integers[:1], trace=tmp_path / "wave.vcd")
    assert single.interval == single.latency == chip.cycles
    assert single.utilization == pytest.approx(chip.program.macs / (chip.plan.lanes * chip.cycles))
    assert "joint1_payload" in (tmp_path / "wave.vcd").read_text()


def test_a_flipped_weight_is_found_and_located(chip: Chip, tmp_path: Path) -> None:
    write_build(tmp_path, chip, tiny_inputs(1))
    path = tmp_path / "layer1_weights.hex"
    lines = path.read_text().splitlines()
    lines[0] = f"{int(lines[0], 16) ^ 0x40:0{len(lines[0])}x}"
    path.write_text("\n".join(lines) + "\n")
    x = tiny_inputs(4)
    result = verify(tmp_path, x)
    assert not result.passed and not result.bit_exact and result.cycle_exact
    assert [layer.wrong > 0 for layer in result.layers] == [False, True]
    assert result.edited == ("layer1_weights.hex",) and result.memory[0].line == 1
    assert result.simulation is not None
    first, got, want = result.first, result.simulation.outputs, chip.program.run(x)
    assert first is not None and first.layer == "net.3"
    # The first difference in stream order: image, row, column, channel.
    different = np.argwhere((got != want).transpose(0, 2, 3, 1))
    assert [first.image, first.y, first.x, first.channel] == list(different[0])
    index = first.image, first.channel, first.y, first.x
    assert (first.expected, first.got) == (want[index], got[index])
    assert [image.bit_exact for image in result.images] == list((got == want).all((1, 2, 3)))
    assert result.layers[1].wrong == len(different)


def test_a_weight_that_no_input_shows_still_fails(chip: Chip, tmp_path: Path) -> None:
    write_build(tmp_path, chip, tiny_inputs(1))
    path = tmp_path / "layer0_weights.hex"
    lines = path.read_text().splitlines()
    lines[-1] = f"{int(lines[-1], 16) ^ 1:0{len(lines[-1])}x}"
    path.write_text("\n".join(lines) + "\n")
    result = verify(tmp_path, np.zeros((2, 4, 1, 1), np.int64))
    assert result.bit_exact and result.cycle_exact and not result.passed
    assert result.memory[0].file == "layer0_weights.hex" and result.memory[0].line == len(lines)


def test_a_hidden_layer_is_named_although_the_output_is_wrong_too(chip: Chip) -> None:
    words = chip.files["layer0_constants.hex"].splitlines()
    words[1] = f"{int(words[1], 16) ^ 0x20:0{len(words[1])}x}"
    broken = dataclasses.replace(
        chip, files={**chip.files, "layer0_constants.hex": "\n".join(words) + "\n"}
    )
    result = verify(broken, tiny_inputs(6))
    assert result.first is not None and result.first.layer == "net.0"
    assert result.first.channel == 1
    assert "layer net.0, image" in str(result.first) and "channel 1" in str(result.first)


def test_wrong_cycles_fail_although_the_values_are_right(chip: Chip) -> None:
    slower = dataclasses.replace(plan_program(chip.program, 2), joints=chip.plan.joints)
    other = api.build(chip.program, plan=slower)
    x = tiny_inputs(2)
    result = verify(dataclasses.replace(chip, source=other.source, files=other.files), x)
    assert result.bit_exact and not result.cycle_exact and not result.passed
    timing = simulate_cycles(chip.program, slower, 2)
    assert [image.cycle for image in result.images] == [sent - timing.first for sent in timing.sent]
    assert result.images[0].cycle_model == chip.cycles != result.images[0].cycle


def test_a_design_that_hangs_is_a_verdict(chip: Chip) -> None:
    stuck = chip.source.replace(".o__valid(joint1_valid)", ".o__valid()", 1)
    assert stuck != chip.source
    result = verify(dataclasses.replace(chip, source=stuck), tiny_inputs(2))
    assert not result.passed and result.stopped is not None and result.stopped.startswith("stuck")
    assert [image.cycle for image in result.images] == [None, None]
    assert [layer.wrong == layer.values for layer in result.layers] == [True, True]
    assert str(result.first).startswith("layer net.0, image 0, channel 0, y 0, x 0: expected ")
    assert str(result.first).endswith("got nothing")
    assert result.simulation is None and result.to_dict()["passed"] is False
