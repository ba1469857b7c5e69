"""Energy of an image: operations and memories of a 45 nm process, and what FPGAs were measured to take.

Operations: Horowitz, Computing's energy problem (ISSCC 2014), 45 nm at 0.9 V: an 8-bit product 0.2 pJ, growing with the bits of both
factors, an 8-bit sum 0.03 pJ, a 32-bit sum 0.1 pJ. Memories, from the same: 64 bits out of 8 kB 10 pJ, out of 32 kB 20 pJ, out of 1 MB
100 pJ, between them by powers of the size; out of DRAM 1.3 nJ, the least that is given there. FPGA: at most 14 pJ a multiplication with everything around it (Perri et al., Journal of
Imaging 6(9), 2020: 72 GOPS of DCGAN on an XC7Z020 with less than 0.5 W). Models of what is built, not measurements of it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from organza.plan import Plan, schedules_of
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza.time_sharing import TimeSharing

PRODUCT_PJ, SUM8_PJ, SUM32_PJ = 0.2, 0.03, 0.1
FPGA_PJ = 14.0
# Bits of a memory, and picojoules a bit.
MEMORIES = ((8 * 8192, 10 / 64), (8 * 32768, 20 / 64), (8 * 1048576, 100 / 64))
DRAM_PJ = 1300 / 64  # a bit
EPILOGUE_BITS = (24, 16)  # of its product
PJ_OF_UJ = 1e6


@dataclass(frozen=True)
class Energy:
    """Microjoules of a layer for one image, 45 nm: products and sums; reads of weights; ring; sums in memory. fpga : the other model's, in all."""

    operations: float
    weights: float
    activations: float
    sums: float
    fpga: float

    @property
    def total(self) -> float:
        """All of it, 45 nm."""
        return self.operations + self.weights + self.activations + self.sums


def memory_pj(bits: int) -> float:
    """Picojoules for a bit out of a memory of so many bits; a smaller one than the smallest known takes as much as that."""
    if bits <= MEMORIES[0][0]:
        return MEMORIES[0][1]
    (small, low), (large, high) = next((pair for pair in pairwise(MEMORIES) if bits <= pair[1][0]), MEMORIES[-2:])
    return low * (high / low) ** (math.log(bits / small) / math.log(large / small))


def product_pj(node: Convolve) -> float:
    """Picojoules of an activation times a weight: nothing for −1, 0 and 1, a sum's for powers of two, else by the bits of both."""
    sizes = np.unique(np.abs(node.code.integers()))
    most, bits = int(sizes.max(initial=0)), int(node.input.bits)
    if most <= 1:
        return 0.0
    if not np.any(sizes & (sizes - 1)):
        return SUM8_PJ * bits / 8
    return PRODUCT_PJ * bits * (most.bit_length() + 1) / 64


def layer_energy(schedule: Schedule, depth: int, shared: TimeSharing | None = None) -> Energy:
    """Of a layer as it is scheduled, with a ring of so many rows; or as one of those of an engine, with their memories."""
    node = schedule.node
    word_bits, stored_bits = (shared.word_bits, shared.image_bits) if shared else (schedule.word_bits, schedule.buffer_bits)
    channels, height, width = node.output_shape
    outputs, inputs = channels * height * width, math.prod(node.input_shape)
    if schedule.arithmetic == "bins":
        # Sums by index; then a product for each of them and output.
        entries, bits = len(np.unique(node.code.integers())), node.accumulator_bits
        products = outputs * entries * (PRODUCT_PJ * bits * node.code.field_bits / 64)
    else:
        products = node.macs * product_pj(node)
    operations = products + node.macs * SUM32_PJ + outputs * PRODUCT_PJ * math.prod(EPILOGUE_BITS) / 64
    # In weight order each lane word is read once an image.
    word_reads = schedule.issues if schedule.order == "row" else int(schedule.tap_issues.sum())
    weights = word_reads * word_bits * (memory_pj(stored_bits) + DRAM_PJ * schedule.external)
    ring_bits = depth * node.input_shape[0] * node.input_shape[2] * int(node.input.bits)
    if shared:
        ring_bits = max(math.prod(one.input_shape) * int(one.input.bits) for one in shared.nodes)
    moved = inputs * int(node.input.bits) + schedule.issues * schedule.span * schedule.p * int(node.input.bits)
    activations = moved * memory_pj(ring_bits)
    sums = 0.0
    if schedule.order == "weight":
        stored = outputs * node.accumulator_bits
        sums = 2 * schedule.issues * schedule.to * schedule.p * node.accumulator_bits * memory_pj(stored)
    return Energy(*(value / PJ_OF_UJ for value in (operations, weights, activations, sums, node.macs * FPGA_PJ)))


def program_energy(program: Program, plan: Plan) -> list[Energy]:
    """Of every layer."""
    made = []
    for work, joint in zip(plan.works(program), plan.joints, strict=False):
        shared = work if isinstance(work, TimeSharing) else None
        made += [layer_energy(schedule, joint.depth, shared) for schedule in schedules_of(work)]
    return made


def as_row(energy: Energy) -> dict[str, float]:
    """For `report.json`: microjoules, `energy_uj` in all."""
    return {"energy_uj": energy.total, **{f"energy_{name}_uj": value for name, value in asdict(energy).items()}}
