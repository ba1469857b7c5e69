# amaranth: UnusedElaboratable=no
"""Flexpoint layers in RTL: every bit and every cycle."""

import numpy as np
import pytest

from organza.formats import Flex
from organza.geometry import Axis
from organza.lowering import lower
from organza.program import Convolve, Program
from organza.quality import CHECKPOINT, calibration_latents
from organza.sampling import draw_latents
from organza_sim.api import build
from organza_sim.verify import verify
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import random_plan
from tests.strategies import random_code, random_convolve, random_epilogue, random_input


def flex(rng):
    return Flex(-int(rng.integers(8, 16)))


@pytest.mark.parametrize("kernel", [3, 5])
def test_unbalanced_phases(kernel):
    rng = np.random.default_rng(kernel)
    axis = Axis(size=3, kernel=kernel, up=2, crop_before=kernel // 2, crop_after=kernel // 2 - 1)
    code = random_code(rng, (4, 3, kernel, kernel), "flexpoint")
    bound = np.abs(code.integers()).sum((0, 2, 3)) << 15
    node = Convolve(
        name="layer", y=axis, x=axis, groups=1, code=code, input=flex(rng), output=flex(rng),
        epilogue=random_epilogue(rng, bound, Flex(-8), kind="leaky"),
    )  # fmt: skip
    program = Program((node,))
    chosen = Case(program, random_plan(rng, program), random_input(rng, program, 2))
    check_free(chosen)
    check_stalled(chosen, kernel)


@pytest.mark.parametrize("seed", range(4))
def test_pipelines_of_mantissas(seed):
    """Two layers with flexpoint tensors on all sides; the second one has any code."""
    rng = np.random.default_rng(seed)
    first = random_convolve(rng, name="a", code="flexpoint", input=flex(rng), output=flex(rng), max_macs=600)
    second = random_convolve(
        rng, name="b", code="flexpoint" if seed % 2 else None, input=first.output, input_shape=first.output_shape,
        output=flex(rng) if seed < 2 else None, max_macs=600,
    )  # fmt: skip
    program = Program((first, second))
    chosen = Case(program, random_plan(rng, program), random_input(rng, program, 2))
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.rtl
@pytest.mark.full
def test_the_shipped_generator():
    """All four layers in flexpoint, in Verilog: every bit and every cycle of three images."""
    program = lower(CHECKPOINT, calibration_latents(64), code="flexpoint")
    assert {node.code.kind for node in program.nodes} == {"flexpoint"}
    checked = verify(build(program), draw_latents(3, 64, 1).numpy()[:, :, None, None])
    assert checked.passed
    assert len(checked.images) == 3
