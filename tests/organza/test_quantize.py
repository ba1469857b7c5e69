"""Quantised against floating-point images, and networks that are hard to quantise."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from organza.calibration import activation_scale, weight_scales
from organza.capture import capture
from organza.errors import UserError
from organza.float_layers import FloatLayer, float_run
from organza.fold import fold
from organza.formats import Fixed
from organza.geometry import Axis
from organza.graph import Activation
from organza.models import Generator, GeneratorConfig
from organza.program import Program
from organza.quantize import multipliers, quantize

POINT = Axis(size=1, kernel=1)


def _latents(count: int, features: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, features, 1, 1))


def _dcgan(seed: int = 0) -> list[FloatLayer]:
    """DCGAN-32 with the statistics of a trained one: normalised layers, images that use the range."""
    torch.manual_seed(seed)
    model = Generator(GeneratorConfig(latent=64, width=16, resolution=32, channels=1))
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.ConvTranspose2d):
                part.weight.normal_(0, 0.05)
            if isinstance(part, nn.BatchNorm2d):
                part.weight.normal_(1, 0.2)
                part.bias.normal_(0, 0.3)
                part.momentum = 1.0
        model.train()
        model(torch.randn(64, 64))
        model.net[-2].weight *= 4  # pyright: ignore[reportOperatorIssue]
    return fold(capture(model, torch.zeros(1, 64)))


def _psnr(program: Program, layers: list[FloatLayer], x: np.ndarray) -> float:
    """Decibels for images in [0, 1] from tanh outputs."""
    got = program.dequantize(program.run(program.quantize(x)))
    error = ((got - float_run(layers, x).numpy()) / 2) ** 2
    return float(10 * np.log10(1 / error.mean()))


@pytest.mark.parametrize("calibration, least", [("mse", 36), ("max", 36), ("percentile", 36)])
def test_dcgan_psnr(calibration, least):
    layers = _dcgan()
    program = quantize(layers, _latents(256, 64, 1), calibration=calibration)
    x = _latents(250, 64, 2)
    assert float_run(layers, x).numpy().std() > 0.3  # no grey images
    psnr = _psnr(program, layers, x)
    assert psnr >= least, f"PSNR {psnr:.1f} dB is too low"
    assert [node.name for node in program.nodes] == ["net.0", "net.3", "net.6", "net.9"]
    assert [node.input.signed for node in program.nodes] == [True, False, False, False]
    assert program.output == Fixed(8, True, 1 / 127)
    for node in program.nodes:
        assert np.abs(node.code.integers()).max() <= 127
        assert (node.epilogue.positive >= 1 << 14).all()
        assert node.accumulator_bits <= 32
        if node is not program.nodes[-1]:
            assert not node.epilogue.negative.any()


@pytest.mark.parametrize("bits, least", [(4, 18), (6, 30), (12, 36), (16, 36)])
def test_more_weight_bits_are_better(bits, least):
    layers = _dcgan()
    program = quantize(layers, _latents(128, 64, 1), weight_bits=bits)
    assert all(node.code.bits == bits for node in program.nodes)
    assert _psnr(program, layers, _latents(100, 64, 2)) >= least


def test_channels_of_very_different_size_are_equalised():
    layers = _dcgan()
    x = _latents(100, 64, 2)
    rng = np.random.default_rng(0)
    wild = list(layers)
    for index in range(3):
        factors = 2.0 ** rng.uniform(-5, 5, wild[index].co)
        layer, after = wild[index], wild[index + 1]
        wild[index] = dataclasses.replace(
            layer,
            weights=layer.weights * factors[:, None, None],
            bias=layer.bias * factors,
        )
        wild[index + 1] = dataclasses.replace(
            after, weights=after.weights / factors[:, None, None, None]
        )
    np.testing.assert_allclose(float_run(wild, x), float_run(layers, x), atol=1e-4)
    assert _psnr(quantize(wild, _latents(128, 64, 1)), layers, x) >= 36


def _sqnr(module: nn.Module, shape: tuple[int, ...], seed: int = 0) -> tuple[float, Program]:
    """Decibels of a module's own signal over the error of its Program."""
    torch.manual_seed(seed)
    module = module.eval()
    layers = fold(capture(module, torch.zeros(1, *shape)))
    calibration, x = (
        np.random.default_rng(s).standard_normal((n, *layers[0].input_shape))
        for s, n in ((1, 200), (2, 50))
    )
    program = quantize(layers, calibration)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x.reshape(len(x), *shape)).float()).double().numpy()
    got = program.dequantize(program.run(program.quantize(x))).reshape(wanted.shape)
    return float(10 * np.log10((wanted**2).mean() / ((got - wanted) ** 2).mean())), program


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.LeakyReLU(0.2),
        nn.LeakyReLU(2.0),
        nn.PReLU(6, -0.7),
        nn.Identity(),
        nn.Tanh(),
        nn.Sigmoid(),
    ],
    ids=str,
)
def test_every_activation_between_and_last(activation):
    torch.manual_seed(0)
    sqnr, program = _sqnr(
        nn.Sequential(
            nn.ConvTranspose2d(8, 6, 4), activation, nn.Conv2d(6, 6, 3, 2, 1, groups=2), activation
        ),
        (8, 1, 1),
    )
    assert sqnr >= 30, f"SQNR {sqnr:.1f} dB is too low"
    signed = not isinstance(activation, nn.ReLU | nn.Sigmoid | nn.PReLU)
    assert [node.output.signed for node in program.nodes] == [signed] * 2


def test_layers_that_move_values_are_exact():
    sqnr, program = _sqnr(
        nn.Sequential(
            nn.Linear(8, 32),
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, (8, 2, 2)),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Upsample(scale_factor=2),
            nn.Tanh(),
        ),
        (8,),
    )
    assert sqnr >= 30, f"SQNR {sqnr:.1f} dB is too low"
    x = program.quantize(np.random.default_rng(0).standard_normal((4, 8, 1, 1)))
    features, view, maps, shuffled, up = program.run_layers(x)
    np.testing.assert_array_equal(view.reshape(4, -1), features.reshape(4, -1))
    expected = torch.pixel_shuffle(torch.from_numpy(maps), 2).numpy()
    np.testing.assert_array_equal(shuffled, expected)
    np.testing.assert_array_equal(up, expected.repeat(2, 2).repeat(2, 3))


def _layer(weights, bias, *, activation: Activation | None = None) -> FloatLayer:
    weights = np.asarray(weights, dtype=np.float64)[:, :, None, None]
    return FloatLayer(
        name="only",
        weights=weights,
        bias=np.asarray(bias, dtype=np.float64),
        y=POINT,
        x=POINT,
        activation=activation or Activation(),
    )


@pytest.mark.parametrize("bits", [10, 16])
def test_a_tensor_may_have_more_bits(bits):
    """As between factors; a large bias behind it does not make weights coarser, however fine its steps are."""
    rng = np.random.default_rng(4)
    first = dataclasses.replace(_layer(rng.normal(size=(6, 5)), np.zeros(5)), name="first", bits=bits)
    second = _layer(0.02 * rng.normal(size=(5, 4)), [9.0, -7.0, 0.1, 0.0])
    x = rng.normal(size=(256, 6, 1, 1))
    program = quantize([first, second], x)
    between = program.nodes[0].output
    assert isinstance(between, Fixed) and between.signed and between.bits == bits
    assert (np.abs(program.nodes[1].code.integers()).max((0, 2, 3)) > 100).all()
    wanted = float_run([first], x, torch.float64).numpy()
    made = between.dequantize(program.run_layers(program.quantize(x))[0])
    usual = quantize([dataclasses.replace(first, bits=None), second], x).nodes[0].output
    assert usual.bits == 8 and between.scale < 2.0 ** (9 - bits) * usual.scale
    assert np.abs(made - wanted).max() < 0.1 * np.abs(wanted).max()


def test_dead_channels_keep_their_bias():
    layer = _layer([[1.0, 0.0, 0.0, 1e-12], [0.5, 0.0, 0.0, 0.0]], [0.1, 0.75, 0.0, -0.5])
    x = np.random.default_rng(0).uniform(-1, 1, (64, 2, 1, 1))
    program = quantize([layer], x, calibration="max")
    got = program.dequantize(program.run(program.quantize(x)))
    wanted = float_run([layer], x, torch.float64).numpy()
    assert np.abs(got - wanted).max() <= 2 * program.output.scale
    assert program.nodes[0].accumulator_bits <= 32


@pytest.mark.parametrize("activation", [Activation(), Activation("tanh"), Activation("sigmoid")])
def test_a_layer_of_zeros(activation):
    layer = _layer(np.zeros((2, 3)), np.zeros(3), activation=activation)
    program = quantize([layer], np.zeros((1, 2, 1, 1)))
    got = program.dequantize(program.run(np.full((1, 2, 1, 1), 5)))
    wanted = 0.5 if activation.kind == "sigmoid" else 0.0
    np.testing.assert_allclose(got, wanted, atol=1 / 255)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("kind", ["slope", "tanh"])
def test_extreme_ranges(scale, kind):
    rng = np.random.default_rng(0)
    layer = _layer(
        rng.standard_normal((8, 4)) * scale,
        rng.standard_normal(4) * scale,
        activation=Activation(kind),
    )
    x = rng.standard_normal((100, 8, 1, 1))
    program = quantize([layer], x)
    wanted = float_run([layer], x, torch.float64).numpy()
    got = program.dequantize(program.run(program.quantize(x)))
    peak = np.abs(wanted).max() if kind == "slope" else 1.0
    assert np.abs(got - wanted).mean() <= 0.02 * peak


@pytest.mark.parametrize("kind, reach", [("tanh", 5.9), ("sigmoid", 11.7)])
def test_tables_may_have_more_bits(kind, reach):
    layer = dataclasses.replace(_layer(np.eye(3) * 4, np.zeros(3), activation=Activation(kind)), bits=16)
    x = np.random.default_rng(1).normal(0, 2, (256, 3, 1, 1))
    program = quantize([layer], x)
    assert program.output == Fixed(16, kind == "tanh", 1 / (32767 if kind == "tanh" else 65535))
    table = program.nodes[0].epilogue.table
    assert table is not None and table.max() == program.output.high and len(np.unique(table)) > 1200
    got = program.dequantize(program.run(program.quantize(x)))
    wanted = float_run([layer], program.quantize(x) * program.input.scale, torch.float64).numpy()
    step = reach / 1023  # of the argument; the slope is at most 1, and the sums end half a step beside an entry
    assert np.abs(got - wanted).max() < 1.1 * step


def test_tables_are_the_function_at_every_entry():
    x = np.random.default_rng(0).uniform(-4, 4, (100, 1, 1, 1))
    for kind, function in (("tanh", np.tanh), ("sigmoid", lambda v: 1 / (1 + np.exp(-v)))):
        layer = _layer([[1.0]], [0.0], activation=Activation(kind))
        program = quantize([layer], x)
        e = program.nodes[0].epilogue
        assert e.table is not None and len(e.table) == 2048
        assert (np.diff(e.table) >= 0).all()
        got = program.dequantize(program.run(program.quantize(x)))
        assert np.abs(got - function(x)).max() <= 0.02


@given(
    exponent=st.floats(-31, 12.9),
    slope=st.floats(-4, 4),
)
def test_multipliers_have_fifteen_bits(exponent, slope):
    ratio = np.array([2.0**exponent])
    positive, negative, shift = multipliers(ratio, np.array([slope]))
    assert 0 <= shift[0] <= 47
    largest = max(abs(positive[0]), abs(negative[0]))
    assert 1 << 14 <= largest < 1 << 15
    assert abs(positive[0] / 2.0 ** shift[0] - ratio[0]) <= 0.5 / 2.0 ** shift[0]
    assert abs(negative[0] / 2.0 ** shift[0] - ratio[0] * slope) <= 0.5 / 2.0 ** shift[0]


def test_multipliers_at_the_ends():
    ratio = np.array([32767.6 / 2, 2.0**-60, 1e9, 32767.6])
    positive, negative, shift = multipliers(ratio, np.array([1.0, 1.0, 0.0, -1.0]))
    assert shift.tolist() == [0, 47, 0, 0]
    assert positive.tolist() == [16384, 0, 32767, 32767]
    assert negative.tolist() == [16384, 0, 0, -32767]


def test_scales():
    values = np.concatenate([np.random.default_rng(0).standard_normal(100_000), [40.0]])
    fixed = Fixed(8, True, 1.0)
    assert activation_scale(values, fixed, "max") == pytest.approx(40 / 127)
    assert activation_scale(values, fixed, "percentile") == pytest.approx(3.9 / 127, rel=0.1)
    assert 0.4 * 40 / 127 <= activation_scale(values, fixed, "mse") < 40 / 127
    assert activation_scale(np.zeros(3), fixed, "mse") == 1.0
    weights = np.array([[1.0, 0.0], [-2.0, 0.0]])[:, :, None, None]
    assert weight_scales(weights, 1, 8, np.ones(2)).tolist() == [
        pytest.approx(2 / 127, rel=0.02),
        0.0,
    ]
    with pytest.raises(
        ValueError, match=r"^calibration must be one of mse, percentile, max, not 'x'$"
    ):
        activation_scale(values, fixed, "x")


@pytest.mark.parametrize(
    "changes, kind, message",
    [
        ({"weight_bits": 8.0}, TypeError, r"weight_bits must be an integer, not 8\.0"),
        ({"weight_bits": 1}, ValueError, r"weight_bits must be between 2 and 16, not 1"),
        ({"weight_bits": 17}, ValueError, r"weight_bits must be between 2 and 16, not 17"),
        (
            {"calibration": "kl"},
            UserError,
            r"calibration must be one of mse, percentile, max, not 'kl'",
        ),
        ({"layers": []}, ValueError, r"layers must not be empty"),
        (
            {"inputs": np.zeros((2, 3, 1, 1))},
            UserError,
            r"calibration inputs must have shape \(N, 1, 1, 1\) with N ≥ 1, not \(2, 3, 1, 1\)",
        ),
        (
            {"inputs": np.zeros((0, 1, 1, 1))},
            UserError,
            r"calibration inputs must have shape \(N, 1, 1, 1\) with N ≥ 1, not \(0, 1, 1, 1\)",
        ),
        (
            {"inputs": np.full((2, 1, 1, 1), np.inf)},
            UserError,
            r"calibration inputs must be finite, but hold NaN or an infinity",
        ),
        (
            {"layers": [_layer([[np.inf]], [0.0])]},
            UserError,
            r"only: weights must be finite after folding, but are not",
        ),
    ],
)
def test_refused(changes, kind, message):
    given = {"layers": [_layer([[1.0]], [0.0])], "inputs": np.zeros((1, 1, 1, 1))} | changes
    layers, inputs = given.pop("layers"), given.pop("inputs")
    with pytest.raises(kind, match=rf"^{message}$"):
        quantize(layers, inputs, **given)
