"""The Axis rule against PyTorch: output sizes, and which inputs reach which outputs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.geometry import Axis
from tests.strategies import random_axis


def _torch_taps(size: int, kernel: int, convolve) -> list[set[tuple[int, int]]]:
    """(k, i) pairs at every output: unit impulses as images, unit kernels as output channels."""
    y = convolve(torch.eye(size)[:, None], torch.eye(kernel))
    return [
        {(k, i) for i, k in torch.nonzero(position).tolist()} for position in y.permute(2, 0, 1)
    ]


def _taps(axis: Axis) -> list[set[tuple[int, int]]]:
    return [set(taps) for taps in axis.table]


def test_every_small_conv_transpose():
    checked = 0
    for size, kernel, stride in itertools.product((1, 2, 3), (1, 2, 3, 4), (1, 2, 3)):
        for padding, extra in itertools.product(range(kernel + 1), range(stride)):
            if (size - 1) * stride + kernel - 2 * padding + extra < 1:
                continue
            axis = Axis(
                size=size,
                kernel=kernel,
                up=stride,
                crop_before=padding,
                crop_after=padding - extra,
            )
            expected = _torch_taps(
                size,
                kernel,
                lambda x, w, s=stride, p=padding, e=extra: torch.conv_transpose1d(
                    x, w[None], stride=s, padding=p, output_padding=e
                ),
            )
            assert _taps(axis) == expected, axis
            checked += 1
    assert checked > 150


def test_every_small_convolution():
    checked = 0
    for size, kernel, stride, padding in itertools.product(
        (1, 2, 3, 5), (1, 2, 3, 4), (1, 2, 3), (0, 1, 2, 4)
    ):
        if size + 2 * padding < kernel:
            continue
        crop = kernel - 1 - padding
        axis = Axis(size=size, kernel=kernel, down=stride, crop_before=crop, crop_after=crop)
        expected = _torch_taps(
            size,
            kernel,
            # A convolution flips its kernel: tap k of the project's rule is PyTorch's K - 1 - k.
            lambda x, w, s=stride, p=padding: torch.conv1d(
                x, w.flip(1)[:, None], stride=s, padding=p
            ),
        )
        assert _taps(axis) == expected, axis
        checked += 1
    assert checked > 100


@given(seed=st.integers(0, 1 << 32))
def test_any_axis_is_insert_zeros_convolve_crop_and_subsample(seed):
    axis = random_axis(
        np.random.default_rng(seed), max_size=7, max_kernel=9, max_stride=5, max_output=40
    )
    x, w = np.random.default_rng(seed + 1).integers(-9, 10, (2, 30))
    x, w = x[: axis.size], w[: axis.kernel]
    spread = np.zeros((axis.size - 1) * axis.up + 1, np.int64)
    spread[:: axis.up] = x
    full = np.convolve(spread, w)
    full = np.pad(full, 20)[20 + axis.crop_before : len(full) + 20 - axis.crop_after]
    expected = full[:: axis.down]
    assert axis.output == len(expected)
    assert [sum(w[k] * x[i] for k, i in taps) for taps in axis.table] == expected.tolist()


@given(seed=st.integers(0, 1 << 32))
def test_pairs_phases_and_pitch_agree_with_the_table(seed):
    axis = random_axis(
        np.random.default_rng(seed), max_size=7, max_kernel=9, max_stride=5, max_output=40
    )
    seen = {(y, k, i) for y, taps in enumerate(axis.table) for k, i in taps}
    listed = set()
    for k in range(axis.kernel):
        pairs = axis.pairs(k)
        if pairs is None:
            continue
        inputs, outputs = (range(*s.indices(1 << 20)) for s in pairs)
        assert len(inputs) == len(outputs) > 0
        listed |= {(y, k, i) for i, y in zip(inputs, outputs, strict=True)}
    assert listed == seen
    assert axis.tap_count == len(seen)
    for taps in axis.table:
        assert list(taps) == sorted(taps)


@pytest.mark.parametrize(
    "kernel, stride, crop, phases",
    [
        (4, 2, (1, 1), [2, 2]),
        (3, 2, (1, 0), [1, 2]),
        (5, 2, (2, 1), [3, 2]),
        (2, 2, (0, 0), [1, 1]),
        (8, 2, (3, 3), [4, 4]),
        (2, 4, (0, 0), [1, 1, 0, 0]),
    ],
)
def test_taps_per_phase_of_common_layers(kernel, stride, crop, phases):
    axis = Axis(size=40, kernel=kernel, up=stride, crop_before=crop[0], crop_after=crop[1])
    middle = 20 * stride
    assert axis.phases == stride
    assert [len(axis.taps(middle + p)) for p in range(stride)] == phases


def test_output_padding_beyond_every_tap_leaves_positions_empty():
    axis = Axis(size=2, kernel=2, up=2, crop_after=-3)
    assert [len(taps) for taps in axis.table] == [1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("name", ["size", "kernel", "up", "down", "crop_before", "crop_after"])
@pytest.mark.parametrize("value", [1.0, "3", None, True])
def test_wrong_kind(name, value):
    with pytest.raises(TypeError, match=rf"^Axis {name} must be an integer, not {value!r}$"):
        Axis(**({"size": 4, "kernel": 3} | {name: value}))


@pytest.mark.parametrize("name", ["size", "kernel", "up", "down"])
@pytest.mark.parametrize("value", [0, -1])
def test_wrong_value(name, value):
    with pytest.raises(ValueError, match=rf"^Axis {name} must be at least 1, not {value}$"):
        Axis(**({"size": 4, "kernel": 3} | {name: value}))


def test_empty_output():
    message = r"^Axis output must not be empty: 2 positions with kernel 3, up 1 and crops \(2, 2\) leave 0$"
    with pytest.raises(ValueError, match=message):
        Axis(size=2, kernel=3, crop_before=2, crop_after=2)
