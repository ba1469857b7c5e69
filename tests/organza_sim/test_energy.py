"""The energy model against sums by hand, the figures that it is made of, and the order of things."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from organza.codes import Binary, Code, Linear, PowerOfTwo, Ternary
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve
from organza.schedule import Schedule
from organza_sim.energy import MEMORIES, as_row, layer_energy, memory_pj, product_pj, program_energy
from organza_sim.measure import DCGAN64, dcgan
from organza_sim.planner import plan_program


def node_with(code: Code) -> Convolve:
    """2×2 pixels of one channel to 4×4 by a kernel of 2×2 with stride 2."""
    axis = Axis(size=2, kernel=2, up=2)
    one = np.ones(1, np.int64)
    epilogue = Epilogue(bias=0 * one, positive=one << 14, negative=0 * one, shift=14 * one, low=0, high=255)
    return Convolve(
        name="layer", y=axis, x=axis, groups=1, code=code, epilogue=epilogue, input=Fixed(8, False, 1 / 64), output=Fixed(8, False, 1 / 64)
    )


def test_memories_are_the_published_ones_and_grow_between() -> None:
    assert [memory_pj(bits) for bits, _ in MEMORIES] == pytest.approx([10 / 64, 20 / 64, 100 / 64])
    assert memory_pj(1) == 10 / 64
    sizes = [memory_pj(1 << k) for k in range(16, 27)]
    assert sizes == sorted(sizes) and sizes[-1] > 100 / 64


def test_products() -> None:
    """8 × 8 bits take what was published; signs nothing; shifts a sum."""
    weights = np.array([[[[127, -127], [3, 0]]]])
    assert product_pj(node_with(Linear(weights, 8))) == pytest.approx(0.2)
    assert product_pj(node_with(Ternary(np.sign(weights)))) == product_pj(node_with(Binary(np.where(weights < 0, -1, 1)))) == 0
    assert product_pj(node_with(PowerOfTwo(np.array([[[[4, -2], [1, 0]]]]), 4))) == pytest.approx(0.03)


def test_a_layer_by_hand() -> None:
    """16 products, one lane, nothing shared."""
    node = node_with(Linear(np.array([[[[127, -127], [3, 5]]]]), 8))
    assert (node.macs, node.output_shape, node.input_shape) == (16, (1, 4, 4), (1, 2, 2))
    energy = layer_energy(Schedule(node=node, ti=1, to=1, p=1, e=1), depth=2)
    bit = 10 / 64
    assert energy.operations * 1e6 == pytest.approx(16 * (0.2 + 0.1) + 16 * 0.2 * 24 * 16 / 64)
    assert energy.weights * 1e6 == pytest.approx(16 * 8 * bit)
    assert energy.activations * 1e6 == pytest.approx((4 * 8 + 16 * 8) * bit)
    assert energy.sums == 0 and energy.fpga * 1e6 == pytest.approx(16 * 14)
    assert energy.total == pytest.approx(energy.operations + energy.weights + energy.activations)
    weight = layer_energy(Schedule(node=node, ti=1, to=1, p=1, e=1, order="weight"), depth=2)
    assert weight.weights * 1e6 == pytest.approx(4 * 8 * bit)  # each of the four words once
    assert weight.sums * 1e6 == pytest.approx(2 * 16 * node.accumulator_bits * bit)
    assert as_row(weight)["energy_uj"] == weight.total


def test_dcgan() -> None:
    """90.5 million products of 8 × 8 bits with their sums are 27.2 microjoules, on an FPGA 1.27 millijoules."""
    program = dcgan(DCGAN64)
    made = program_energy(program, plan_program(program, 128))
    epilogues = sum(np.prod(node.output_shape) for node in program.nodes) * 1.2 / 1e6
    assert sum(energy.operations for energy in made) - epilogues == pytest.approx(27.2, abs=0.1)
    assert sum(energy.fpga for energy in made) == pytest.approx(1267.5, abs=1)


def test_pixel_lanes_share_weights() -> None:
    program = dcgan(DCGAN64)
    node = program.nodes[2]
    one, many = (layer_energy(Schedule(node=node, ti=4, to=4, p=p, e=1), depth=4) for p in (1, 8))
    assert many.weights < one.weights / 6 and many.operations == one.operations
    assert dataclasses.replace(one, fpga=0).total == one.total
