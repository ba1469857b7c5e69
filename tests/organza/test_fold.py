"""Folding against the module itself in float64, and the identities against their own definition."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from organza import identities
from organza.capture import capture
from organza.errors import UserError
from organza.float_layers import FloatLayer, activate, linear
from organza.fold import float_run, fold
from tests.strategies import random_axis


class View(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return x.view(x.shape[0], *self.shape)


def _trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` in float64 with normalisations and slopes that do something."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            with torch.no_grad():
                part.weight.normal_(generator=generator)
                part.bias.normal_(generator=generator)
        if isinstance(part, nn.PReLU):
            with torch.no_grad():
                part.weight.uniform_(-0.5, 1.5, generator=generator)
    return module


def _check(module: nn.Module, shape: tuple[int, ...], tolerance=1e-9) -> list[FloatLayer]:
    module = _trained(module)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layers = fold(capture(module, x))
    with torch.no_grad():
        expected = module(x)
    got = float_run(layers, x, torch.float64)
    assert got.shape[1:] == layers[-1].output_shape
    np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=tolerance, rtol=0)
    return layers


def _names(layers: list[FloatLayer]) -> list[str]:
    return [layer.name for layer in layers]


def test_dcgan_is_one_layer_for_each_transposed_convolution():
    layers = _check(
        nn.Sequential(
            nn.ConvTranspose2d(7, 6, 4, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 5, 4, 2, 1),
            nn.BatchNorm2d(5),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(5, 3, (5, 3), (2, 3), (2, 0), (1, 2)),
            nn.Tanh(),
        ),
        (7, 1, 1),
    )
    assert _names(layers) == ["0", "3", "6"]


@pytest.mark.parametrize("factor", [2, 3, (2, 3)])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 3, 3, padding=1),
        nn.Conv2d(4, 3, (1, 4), padding=(0, 3)),
        nn.Conv2d(4, 2, 5, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 2, 3, padding="same", dilation=2),
        nn.ConvTranspose2d(4, 3, (4, 3), (2, 3), 1, (0, 2)),
    ],
)
def test_upsampling_joins_the_layer_after_it(factor, conv):
    layers = _check(nn.Sequential(nn.Upsample(scale_factor=factor), conv, nn.Sigmoid()), (4, 3, 2))
    assert _names(layers) == ["1"]


def test_upsampling_twice_is_known_by_its_kernel():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    w = conv.weight.detach().double().numpy()[0, 0].sum(0)
    (layer,) = fold(
        capture(nn.Sequential(nn.Upsample(scale_factor=2), conv), torch.zeros(1, 1, 3, 3))
    )
    columns = np.array([w[2], w[1] + w[2], w[0] + w[1], w[0]])
    np.testing.assert_allclose(layer.weights[0, 0].sum(0), 2 * columns, atol=1e-12)
    assert (layer.x.kernel, layer.x.up, layer.x.crop_before, layer.x.crop_after) == (4, 2, 1, 1)


def test_upsampling_after_the_last_layer_stays():
    layers = _check(
        nn.Sequential(nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Upsample(scale_factor=3)), (4, 5, 4)
    )
    assert [layer.passthrough for layer in layers] == [False, True]


@pytest.mark.parametrize("r", [2, 3])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2])
def test_pixel_shuffle_joins_the_layer_before_it(r, kind, groups):
    layers = _check(
        nn.Sequential(
            kind(4, 2 * r * r, 3, padding=1, bias=False, groups=groups),
            nn.PixelShuffle(r),
            nn.BatchNorm2d(2),
            nn.ReLU(),
        ),
        (4, 3, 5),
    )
    assert _names(layers) == ["0"]
    assert layers[0].weights.shape == (4, 2 // groups, 3 * r, 3 * r)


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(4, 8, 3), nn.Conv2d(4, 8, 3, stride=2, bias=False), nn.Conv2d(4, 8, 1, groups=4)],
)
def test_pixel_shuffle_that_no_single_layer_can_do_moves_values(conv):
    layers = _check(
        nn.Sequential(conv, nn.PixelShuffle(2), nn.BatchNorm2d(2), nn.PReLU(2), nn.Conv2d(2, 1, 3)),
        (4, 5, 7),
    )
    assert [layer.passthrough for layer in layers] == [False, True, False]


@pytest.mark.parametrize("bias", [False, True])
def test_linear_viewed_as_a_map(bias):
    layers = _check(
        nn.Sequential(
            nn.Linear(5, 24, bias=bias), nn.ReLU(), View(4, 2, 3), nn.ConvTranspose2d(4, 1, 3)
        ),
        (5,),
    )
    # A bias for each position needs a layer for the features and one that arranges them.
    assert _names(layers) == (["0", "2", "3"] if bias else ["0", "3"])
    if not bias:
        assert layers[0].weights.shape == (5, 4, 2, 3)


def test_encoder_and_decoder():
    _check(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, 2, 1),
            nn.BatchNorm2d(4),
            nn.PReLU(4),
            nn.Flatten(),
            nn.Linear(48, 10),
            nn.BatchNorm1d(10),
            nn.LeakyReLU(0.1),
            nn.Linear(10, 24),
            nn.BatchNorm1d(24),
            nn.Unflatten(1, (6, 2, 2)),
            nn.PReLU(6),
            nn.Upsample(scale_factor=2),
            nn.ConvTranspose2d(6, 2, 4, 2, 1),
            nn.Flatten(),
        ),
        (2, 7, 6),
    )


def test_latent_viewed_as_a_map_at_the_input():
    layers = _check(nn.Sequential(View(2, 3, 2), nn.Conv2d(2, 1, 3, padding=1)), (12,))
    assert layers[0].input_shape == (2, 3, 2)


def test_activations_in_a_row_multiply():
    (layer,) = _check(
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.LeakyReLU(0.5), nn.LeakyReLU(0.5)), (2, 2, 2)
    )
    assert layer.slopes.tolist() == [0.25] * 3


def test_batch_norm_before_a_layer_without_padding():
    layers = _check(
        nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=2)
        ),
        (2, 6, 6),
    )
    assert _names(layers) == ["0", "3"]


_FOLLOWS = (
    r"BatchNorm must directly follow a linear layer, where it folds exactly; before a padded layer "
    r"it does not: move it behind the linear layer, before its activation"
)
REFUSED = [
    (
        [nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)],
        f"2: {_FOLLOWS}",
    ),
    ([nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 3)], f"0: {_FOLLOWS}"),
    ([nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)], f"2: {_FOLLOWS}"),
    (
        [nn.Conv2d(4, 4, 1), nn.Tanh(), nn.ReLU()],
        r"2: a second activation after that of 0 cannot be folded; remove one of them",
    ),
    (
        [nn.ReLU(), nn.Conv2d(4, 4, 1)],
        r"0: an activation must follow a linear layer, not the input",
    ),
    (
        [nn.Conv2d(4, 4, 1), View(8, 5, 3), nn.Conv2d(8, 1, 1)],
        r"1: a view from \(4, 5, 6\) to \(8, 5, 3\) cannot be folded; only features viewed .*",
    ),
    (
        [nn.Conv2d(4, 4, 1), nn.Flatten(), nn.BatchNorm1d(120), nn.Linear(120, 2)],
        r"2: differs over the positions of one channel; move it before the flatten",
    ),
]


@pytest.mark.parametrize("parts, message", REFUSED)
def test_refused(parts, message):
    module = _trained(nn.Sequential(*parts))
    with pytest.raises(UserError, match=rf"^{message}$"):
        fold(capture(module, torch.zeros(1, 4, 5, 6)))


def _random_layer(rng: np.random.Generator, co: int, **kinds) -> FloatLayer:
    y, x = (random_axis(rng, max_stride=3, **kinds) for _ in range(2))
    return FloatLayer(
        name="layer",
        weights=rng.standard_normal((2, co, y.kernel, x.kernel)),
        bias=np.zeros(co),
        y=y,
        x=x,
    )


def _map(rng: np.random.Generator, layer: FloatLayer) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((2, *layer.input_shape)))


@given(seed=st.integers(0, 1 << 32), factors=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_upsampling_identity_for_any_axis(seed, factors):
    rng = np.random.default_rng(seed)
    layer = _random_layer(rng, 3)
    x = _map(rng, layer)
    up = torch.from_numpy(np.kron(x.numpy(), np.ones((1, 1, *factors))))
    y, h = (
        dataclasses.replace(a, size=a.size * r)
        for a, r in zip((layer.y, layer.x), factors, strict=True)
    )
    layer = dataclasses.replace(layer, y=y, x=h)
    merged = identities.compose_upsample(layer, factors)
    np.testing.assert_allclose(linear(merged, x), linear(layer, up), atol=1e-9)


@given(seed=st.integers(0, 1 << 32), r=st.integers(1, 4))
def test_shuffle_identity_for_any_transposed_axis(seed, r):
    rng = np.random.default_rng(seed)
    layer = _random_layer(rng, 2 * r * r, geometry="transposed")
    x = _map(rng, layer)
    expected = torch.pixel_shuffle(linear(layer, x), r)
    np.testing.assert_allclose(linear(identities.compose_shuffle(layer, r), x), expected, atol=1e-9)
    shuffle = identities.shuffle_layer("s", layer.output_shape, r)
    np.testing.assert_array_equal(linear(shuffle, linear(layer, x)), expected)


def test_per_channel_slopes():
    layer = FloatLayer(
        name="p",
        weights=np.ones((1, 2, 1, 1)),
        bias=np.zeros(2),
        y=random_axis(np.random.default_rng(0), geometry="point", size=1),
        x=random_axis(np.random.default_rng(0), geometry="point", size=1),
    )
    layer = dataclasses.replace(
        layer, activation=dataclasses.replace(layer.activation, slope=np.array([0.25, -2.0]))
    )
    v = torch.tensor([-4.0, -4.0]).reshape(1, 2, 1, 1)
    assert activate(layer, v).flatten().tolist() == [-1.0, 8.0]
