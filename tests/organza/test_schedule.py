"""The schedule against its definition and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from organza.blocks import blocks
from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve
from organza.schedule import MOST_WORD_BITS, Schedule, ceil_div
from organza.visits import row_needs
from organza_sim.tilings import tilings
from tests.strategies import random_axis, random_convolve

SEEDS = range(60)


def a_schedule(seed: int) -> Schedule:
    rng = np.random.default_rng(seed)
    node = random_convolve(rng)
    to = int(rng.integers(1, node.co // node.groups + 1))
    return Schedule(
        node=node,
        ti=int(rng.integers(1, node.ci // node.groups + 1)),
        to=to,
        p=int(rng.integers(1, min(4, node.x.output) + 1)),
        e=int(rng.integers(1, to + 1)),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_visit_every_pixel_and_tap_once(seed):
    rng = np.random.default_rng(seed)
    axis, p = random_axis(rng), int(rng.integers(1, 5))
    seen = []
    for block in blocks(axis, p):
        assert 1 <= block.pixels <= p
        assert len({tap.k for tap in block.taps}) == len(block.taps)
        for tap in block.taps:
            assert any(tap.mask), "a tap that no pixel has must not be issued"
            for lane, exists in enumerate(tap.mask):
                if exists:
                    seen.append((block.first + lane * axis.phases, tap.k, tap.position + lane * axis.pitch))
    assert sorted(seen) == [(x, k, i) for x in range(axis.output) for k, i in axis.taps(x)]
    pixels = [b.first + n * axis.phases for b in blocks(axis, p) for n in range(b.pixels)]
    assert sorted(pixels) == list(range(axis.output))


@pytest.mark.parametrize("seed", SEEDS)
def test_row_needs_hold_exactly_what_later_rows_read(seed):
    axis = random_axis(np.random.default_rng(seed))
    released = 0
    needs = row_needs(axis)
    for y, need in enumerate(needs):
        rows = [i for _, i in axis.taps(y)]
        assert all(released <= i < released + need.window for i in rows), "a row it reads is not held"
        assert 0 <= need.release <= need.window, "a row is given up before it must have arrived"
        released += need.release
        later = [i for following in range(y + 1, axis.output) for _, i in axis.taps(following)]
        assert all(i >= released for i in later), "a row is given up too early"
        if y + 1 < axis.output:
            assert released == min(later, default=axis.size), "a row is held longer than needed"
    assert released == axis.size


@pytest.mark.parametrize("seed", SEEDS)
def test_issues_and_cycles_follow_the_formula(seed):
    s = a_schedule(seed)
    node = s.node
    cig, cog = node.ci // node.groups, node.co // node.groups
    issues = cycles = 0
    for y in range(node.y.output):
        for phase in range(min(node.x.phases, node.x.output)):
            positions = list(range(phase, node.x.output, node.x.phases))
            for start in range(0, len(positions), s.p):
                union = {k for x in positions[start : start + s.p] for k, _ in node.x.taps(x)}
                tile = max(1, len(node.y.taps(y)) * len(union) * ceil_div(cig, s.ti))
                tiles = node.groups * ceil_div(cog, s.to)
                issues += tiles * tile
                cycles += tiles * max(tile, s.p * ceil_div(s.to, s.e))
    assert s.issues == issues
    assert s.cycles == sum(s.unit_costs) == cycles
    assert s.issues * s.lanes >= node.macs


def test_effectual_macs_are_the_products_that_pytorch_sums():
    node = random_convolve(np.random.default_rng(3), geometry="transposed")
    ones = np.ones(node.code.shape)
    full = F.conv_transpose2d(
        torch.ones(1, node.ci, node.y.size, node.x.size, dtype=torch.float64),
        torch.from_numpy(ones),
        stride=(node.y.up, node.x.up),
        groups=node.groups,
    )[0].sum(0)
    full = F.pad(full, (0, 64, 0, 64))
    height, width = node.y.output, node.x.output
    y0, x0 = max(node.y.crop_before, 0), max(node.x.crop_before, 0)
    rows = slice(y0, y0 + height + min(node.y.crop_before, 0))
    columns = slice(x0, x0 + width + min(node.x.crop_before, 0))
    assert node.macs == int(full[rows, columns].sum())


@pytest.mark.parametrize("size", [4, 8, 16, 32])
def test_dcgan_axis_has_4h_minus_2_taps(size):
    axis = Axis(size=size, kernel=4, up=2, crop_before=1, crop_after=1)
    assert (axis.output, axis.tap_count) == (2 * size, 4 * size - 2)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"ti": 0}, ValueError, r"^layer: ti must be between 1 and \d+, not 0$"),
        ({"to": 99}, ValueError, r"^layer: to must be between 1 and \d+, not 99$"),
        ({"p": 0}, ValueError, r"^layer: p must be between 1 and \d+, not 0$"),
        ({"e": 9}, ValueError, r"^layer: e must be between 1 and \d+, not 9$"),
        ({"ti": 1.0}, TypeError, r"^layer: ti must be an integer, not 1\.0$"),
        ({"p": True}, TypeError, r"^layer: p must be an integer, not True$"),
    ],
)
def test_wrong_lanes(change, kind, message):
    node = random_convolve(np.random.default_rng(0))
    with pytest.raises(kind, match=message):
        Schedule(**{"node": node, "ti": 1, "to": 1, **change})


def test_lane_words_have_a_widest():
    """Verilog tools need not take vectors of more than 65,536 bits."""
    form = Fixed(8, False, 1.0)
    rule = Epilogue(np.zeros(64, int), np.ones(64, int), np.zeros(64, int), np.zeros(64, int), 0, 255)
    point = Axis(size=1, kernel=1)
    code = Linear(np.ones((128, 64, 1, 1), np.int64), 16)
    node = Convolve(name="wide", y=point, x=point, groups=1, code=code, epilogue=rule, input=form, output=form)
    assert Schedule(node=node, ti=64, to=64).lanes * 16 == MOST_WORD_BITS
    with pytest.raises(ValueError, match="^wide: lane word must have at most 65536 bits, not 66560$"):
        Schedule(node=node, ti=65, to=64)
    assert max(tiling.lanes for tiling in tilings(node, 128 * 64)) == 64 * 64
