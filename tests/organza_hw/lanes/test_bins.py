# amaranth: UnusedElaboratable=no
"""Bins against PyTorch: the sums of decoded weights, in the cycles that the schedule counts on."""

import dataclasses

import numpy as np
import pytest
import torch
from amaranth.hdl import Shape, unsigned
from hypothesis import given, settings
from hypothesis import strategies as st

from organza.codes import Codebook
from organza.geometry import Axis
from organza.schedule import Schedule
from organza_hw.lanes.bins import Bins, bin_bound, sum_shape
from organza_sim.pysim import trace_cycles
from tests.strategies import random_convolve, random_epilogue

BITS = 24
MOST = 12  # issues of a tile


def check(rng, centroids, zero, *, signed, to, p, e, tiles=6, rest=0):
    """Random tiles, the next one as early as it may come; noise between them that must not matter."""
    activation = Shape(8, signed)
    low, high = (-128, 128) if signed else (0, 256)
    component = Bins(
        centroids=centroids, zero=zero, activation=activation, shape=sum_shape(activation, MOST),
        total=sum_shape(activation, MOST), bits=BITS, to=to, p=p, e=e, tile_layout=unsigned(7),
    )  # fmt: skip
    chunks, count = -(-to // e), len(centroids)
    steps = count * chunks * p
    inputs, expected = [], {}
    for number in range(tiles):
        length = int(rng.integers(1, MOST + 1)) if number else 1
        x = rng.choice([low, high - 1], (p, length)) if rng.random() < 0.3 else rng.integers(low, high, (p, length))
        index = rng.integers(0, count, (to, length)) if rng.random() < 0.7 else np.full((to, length), rng.integers(count))
        noise = {"valid": 0, "first": 1, "last": 1, "tile": 99,
                 "sums": {"activations": x[:, 0].tolist(), "indices": index[:, 0].tolist()}}  # fmt: skip
        for k in range(length):
            inputs += [noise] * int(rng.integers(0, 2))
            inputs.append({"valid": 1, "first": k == 0, "last": k == length - 1, "tile": number,
                           "sums": {"activations": x[:, k].tolist(), "indices": index[:, k].tolist()}})  # fmt: skip
        weights = torch.tensor(np.asarray(centroids)[index])
        sums = torch.nn.functional.linear(torch.tensor(x).double(), weights.double()).long().numpy()  # (p, to)
        end = len(inputs) - 1 + Bins.latency(steps)
        places = [(pixel, chunk) for pixel in range(p) for chunk in range(chunks)]
        for early, (pixel, chunk) in enumerate(reversed(places)):
            values = sums[pixel, chunk * e : (chunk + 1) * e].tolist()
            expected[end - early * count] = (chunk, pixel, not early, number, values)
        inputs += [noise] * (steps + rest)
    outputs = ["o_valid", "o_chunk", "o_pixel", "o_last", "o_tile", "o_sums"]
    seen = trace_cycles(component, inputs + [{"valid": 0}] * 20, outputs)
    assert {cycle for cycle, row in enumerate(seen) if row[0]} == set(expected)
    for cycle, (*named, values) in expected.items():
        _, *rest_of, sums = seen[cycle]
        assert rest_of == named
        assert [sums[k] for k in range(len(values))] == values


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("count", [2, 3, 15, 16, 17])
def test_sums_of_tiles(count, signed):
    rng = np.random.default_rng([count, signed])
    for to, p, e in ((1, 1, 1), (3, 2, 2), (4, 1, 4), (2, 3, 1)):
        centroids = np.sort(rng.choice(np.arange(-128, 128), count, replace=False)).tolist()
        check(rng, centroids, int(rng.integers(count)), signed=signed, to=to, p=p, e=e, tiles=4)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.sets(st.integers(-128, 127), min_size=2, max_size=40), st.data())
def test_any_codebook(centroids, draw):
    zero = draw.draw(st.integers(0, len(centroids) - 1))
    to, p = draw.draw(st.integers(1, 3)), draw.draw(st.integers(1, 2))
    e, signed = draw.draw(st.integers(1, to)), draw.draw(st.booleans())
    rng = np.random.default_rng(draw.draw(st.integers(0, 99)))
    check(rng, sorted(centroids), zero, signed=signed, to=to, p=p, e=e, tiles=3)


def test_256_centroids():
    check(np.random.default_rng(1), range(-128, 128), 128, signed=True, to=2, p=1, e=1, tiles=2)


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257])
def test_the_shape_of_a_sum(count, signed):
    shape = sum_shape(Shape(8, signed), count)
    low, high = (-128 * count, 127 * count) if signed else (0, 255 * count)
    assert low >= (-(1 << (shape.width - 1)) if shape.signed else 0)
    assert high < 1 << (shape.width - shape.signed)


def test_bins_are_as_wide_as_the_fullest_one_needs():
    """Counted pixel by pixel; a k4 s2 layer adds up at most 2×2 taps of each input channel."""
    rng = np.random.default_rng(0)
    axis = Axis(size=4, kernel=4, up=2, crop_before=1, crop_after=1)
    code = Codebook(rng.integers(0, 5, (6, 3, 4, 4)), np.array([-9, -2, 1, 4, 6]))
    node = random_convolve(rng, input_shape=(6, 4, 4))
    node = dataclasses.replace(
        node, y=axis, x=axis, groups=1, code=code, epilogue=random_epilogue(rng, np.full(3, 1000), node.output)
    )
    schedule = Schedule(node=node, ti=1, to=3, arithmetic="bins")
    most = everything = 0
    for rows in axis.table:
        for columns in axis.table:
            taps = code.indices[:, :, [k for k, _ in rows]][:, :, :, [k for k, _ in columns]]
            counts = [[(taps[:, channel] == k).sum() for k in range(5)] for channel in range(3)]
            most, everything = max(most, *(max(c[:2] + c[3:]) for c in counts)), max(everything, *(sum(c) for c in counts))
    assert bin_bound(schedule, code, 2) == (most, everything)
    assert everything == 24
