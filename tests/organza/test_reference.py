"""The integer reference against PyTorch in float64, the epilogue against Python integers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from organza.codes import CODES, Linear
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve, Program
from organza.reference import accumulate
from tests.strategies import EPILOGUES, random_convolve, random_input, random_program


def _raw(y: Axis, x: Axis, groups: int, weights: np.ndarray, *, signed: bool = True) -> Convolve:
    """A layer whose sums are what counts; its epilogue passes them through as far as they fit."""
    co = weights.shape[1] * groups
    ones, zeros = np.ones(co, np.int64), np.zeros(co, np.int64)
    return Convolve(
        name="raw",
        y=y,
        x=x,
        groups=groups,
        code=Linear(weights, 8),
        epilogue=Epilogue(zeros, ones, ones, zeros, -(1 << 15), (1 << 15) - 1),
        input=Fixed(8, signed, 1.0),
        output=Fixed(16, True, 1.0),
    )


def _integers(rng, shape, low=-127, high=127) -> np.ndarray:
    return rng.integers(low, high + 1, shape)


@pytest.mark.parametrize("block", range(4))
def test_random_conv_transpose_layers(block):
    rng = np.random.default_rng(block)
    for case in range(100):
        kernel = [int(v) for v in rng.integers(1, 26 if case % 4 == 0 else 7, 2)]
        stride = [int(v) for v in rng.integers(1, 9, 2)]
        size = [int(v) for v in rng.integers(1, 6, 2)]
        # PyTorch wants output padding below the stride and knows only equal crops at both ends.
        extra = [int(rng.integers(0, s)) for s in stride]
        padding = [
            int(rng.integers(0, min(k + 1, (n * s + k + 1) // 2)))
            for k, s, n in zip(kernel, stride, size, strict=True)
        ]
        if any(
            (n - 1) * s + k - 2 * p + e < 1
            for n, s, k, p, e in zip(size, stride, kernel, padding, extra, strict=True)
        ):
            padding = [0, 0]
        groups = int(rng.integers(1, 4))
        cig, cog = (int(v) for v in rng.integers(1, 4, 2))
        weights = _integers(rng, (groups * cig, cog, *kernel))
        signed = bool(rng.integers(2))
        x = _integers(rng, (2, groups * cig, *size), *((-128, 127) if signed else (0, 255)))
        y_axis, x_axis = (
            Axis(size=n, kernel=k, up=s, crop_before=p, crop_after=p - e)
            for n, k, s, p, e in zip(size, kernel, stride, padding, extra, strict=True)
        )
        expected = torch.nn.functional.conv_transpose2d(
            torch.from_numpy(x.astype(np.float64)),
            torch.from_numpy(weights.astype(np.float64)),
            stride=stride,
            padding=padding,
            output_padding=extra,
            groups=groups,
        ).numpy()
        node = _raw(y_axis, x_axis, groups, weights, signed=signed)
        sums = accumulate(node, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(sums, expected)
        assert np.abs(sums).max() <= node.sum_bound.max()


def test_random_convolution_layers():
    rng = np.random.default_rng(10)
    for _ in range(150):
        kernel = [int(v) for v in rng.integers(1, 8, 2)]
        stride = [int(v) for v in rng.integers(1, 9, 2)]
        padding = [int(rng.integers(0, k + 2)) for k in kernel]
        size = [
            int(rng.integers(max(1, k - 2 * p), k + 6))
            for k, p in zip(kernel, padding, strict=True)
        ]
        groups = int(rng.integers(1, 4))
        cig, cog = (int(v) for v in rng.integers(1, 4, 2))
        weights = _integers(rng, (groups * cog, cig, *kernel))
        x = _integers(rng, (2, groups * cig, *size))
        y_axis, x_axis = (
            Axis(size=n, kernel=k, down=s, crop_before=k - 1 - p, crop_after=k - 1 - p)
            for n, k, s, p in zip(size, kernel, stride, padding, strict=True)
        )
        # [groups·cog, cig, ky, kx] flipped to the project's [ci, cog, ky, kx].
        ours = weights.reshape(groups, cog, cig, *kernel).transpose(0, 2, 1, 3, 4)
        ours = ours.reshape(groups * cig, cog, *kernel)[..., ::-1, ::-1]
        expected = torch.nn.functional.conv2d(
            torch.from_numpy(x.astype(np.float64)),
            torch.from_numpy(weights.astype(np.float64)),
            stride=stride,
            padding=padding,
            groups=groups,
        ).numpy()
        sums = accumulate(_raw(y_axis, x_axis, groups, ours), x.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(sums.transpose(0, 3, 1, 2), expected)


def _zeros_convolve_crop_subsample(node: Convolve, x: np.ndarray) -> np.ndarray:
    """Sums (N, co, height, width) by PyTorch on the dense integers of the code."""
    y, h = node.y, node.x
    spread = np.zeros((len(x), node.ci, (y.size - 1) * y.up + 1, (h.size - 1) * h.up + 1))
    spread[:, :, :: y.up, :: h.up] = x
    full = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(spread),
        torch.from_numpy(node.code.integers().astype(np.float64)),
        groups=node.groups,
    ).numpy()
    rows, columns = (
        np.arange(axis.crop_before, axis.crop_before + axis.full, axis.down) for axis in (y, h)
    )
    expected = np.zeros((len(x), node.co, len(rows), len(columns)))
    inside = np.ix_(
        *((r >= 0) & (r < n) for r, n in zip((rows, columns), full.shape[2:], strict=True))
    )
    taken = full[:, :, rows[inside[0].ravel()]][..., columns[inside[1].ravel()]]
    expected[:, :, inside[0], inside[1]] = taken
    return expected


@pytest.mark.parametrize("block", range(2))
def test_any_geometry_is_insert_zeros_convolve_crop_and_subsample(block):
    """Uneven crops, output padding ≥ stride and up together with down, which PyTorch cannot name."""
    for seed in range(block * 100, block * 100 + 100):
        rng = np.random.default_rng(seed)
        node = random_convolve(rng, max_stride=8, max_kernel=9, max_positions=80)
        x = random_input(rng, node, 2)
        sums = accumulate(node, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(sums, _zeros_convolve_crop_subsample(node, x))


@pytest.mark.parametrize("kind", CODES)
def test_every_code_is_a_convolution_of_its_integers(kind):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        node = random_convolve(rng, code=kind, max_channels=8)
        x = random_input(rng, node, 2)
        sums = accumulate(node, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(sums, _zeros_convolve_crop_subsample(node, x))
        assert (np.abs(sums).max((0, 2, 3)) + np.abs(node.epilogue.bias) <= node.sum_bound).all()


def _requantise(e: Epilogue, channel: int, total: int) -> int:
    """The normative rule in arbitrary-precision integers, with floor division for the shift."""
    v = total + int(e.bias[channel])
    m = int((e.positive if v >= 0 else e.negative)[channel])
    s = int(e.shift[channel])
    q = (2 * v * m + 2**s) // 2 ** (s + 1)
    q = min(max(q, e.low), e.high)
    return q if e.table is None else int(e.table[q - e.low])


@given(
    total=st.integers(-(1 << 45), 1 << 45) | st.integers(-300, 300),
    bias=st.integers(-(1 << 44), 1 << 44) | st.integers(-300, 300),
    positive=st.integers(-(1 << 15), (1 << 15) - 1),
    negative=st.integers(-(1 << 15), (1 << 15) - 1) | st.just(0),
    shift=st.integers(0, 47),
    unsigned=st.booleans(),
)
def test_epilogue_rule(total, bias, positive, negative, shift, unsigned):
    low, high = (0, 255) if unsigned else (-128, 127)
    e = Epilogue(
        *(np.array([v], np.int64) for v in (bias, positive, negative, shift)), low=low, high=high
    )
    assert e.compute(np.array([total], np.int64)).tolist() == [_requantise(e, 0, total)]


@pytest.mark.parametrize("shift", range(48))
def test_epilogue_rounds_half_up_at_every_shift(shift):
    one = np.array([1], np.int64)
    e = Epilogue(0 * one, one, one, shift * one, -(1 << 40), 1 << 40)
    step = 1 << shift
    totals = sorted(
        {k * step // 2 + d for k in range(-5, 6) for d in (-1, 0, 1)}
    )  # around each half
    got = e.compute(np.array(totals, np.int64)[:, None])[:, 0].tolist()
    assert got == [(2 * t + step) // (2 * step) if shift else t for t in totals]


@pytest.mark.parametrize("kind", EPILOGUES)
def test_layers_with_every_epilogue(kind):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        node = random_convolve(rng, epilogue=kind)
        x = random_input(rng, node, 1)
        sums = accumulate(node, x.transpose(0, 2, 3, 1))
        expected = [
            [[_requantise(node.epilogue, c, int(v)) for c, v in enumerate(p)] for p in row]
            for row in sums[0]
        ]
        got = Program((node,)).run(x)[0].transpose(1, 2, 0)
        assert got.tolist() == expected
        assert node.output.low <= got.min() and got.max() <= node.output.high


def test_sums_beyond_float32_are_exact():
    weights = np.full((700, 1, 1, 1), (1 << 15) - 1)
    weights[0] = 0
    point = Axis(size=1, kernel=1)
    one = np.ones(1, np.int64)
    node = Convolve(
        name="wide",
        y=point,
        x=point,
        groups=1,
        code=Linear(weights, 16),
        epilogue=Epilogue(0 * one, one, one, 0 * one, -(1 << 15), (1 << 15) - 1),
        input=Fixed(16, False, 1.0),
        output=Fixed(16, True, 1.0),
    )
    x = np.full((1, 1, 1, 700), (1 << 16) - 1)
    total = 699 * ((1 << 15) - 1) * ((1 << 16) - 1)
    assert total % 2  # not a float32
    assert accumulate(node, x).item() == total
    assert node.sum_bound.item() == total
    assert 1 << (node.accumulator_bits - 2) <= total < 1 << (node.accumulator_bits - 1)


def test_a_chain_is_its_layers_one_after_the_other():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        program = random_program(rng, 3)
        x = random_input(rng, program, 40)  # more than one batch
        layers = program.run_layers(x)
        for node, got in zip(program.nodes, layers, strict=True):
            np.testing.assert_array_equal(Program((node,)).run(x), got)
            assert got.shape == (40, *node.output_shape) and got.dtype == np.int64
            x = got


def _program() -> Program:
    return Program((random_convolve(np.random.default_rng(0), input_shape=(2, 3, 4)),))


def test_inputs_of_the_wrong_kind():
    with pytest.raises(
        TypeError, match=r"^Program inputs must be integers \(see Program.quantize\), not float64$"
    ):
        _program().run(np.zeros((1, 2, 3, 4)))


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 2, 4, 3), (0, 2, 3, 4)])
def test_inputs_of_the_wrong_shape(shape):
    with pytest.raises(
        ValueError, match=r"^Program inputs must have shape \(N, 2, 3, 4\) with N ≥ 1, not \("
    ):
        _program().run(np.zeros(shape, np.int64))


def test_inputs_out_of_range():
    program = _program()
    low, high = program.input.low, program.input.high
    x = np.full((1, 2, 3, 4), high + 1)
    message = rf"^Program inputs must be between {low} and {high}, not {high + 1}…{high + 1}$"
    with pytest.raises(ValueError, match=message):
        program.run(x)
