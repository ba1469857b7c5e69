"""What the captured steps say, and what is refused with which advice."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from organza.capture import capture
from organza.errors import UserError
from organza.graph import (
    ActivateStep,
    LinearStep,
    NormalizeStep,
    ReshapeStep,
    ShuffleStep,
    UpsampleStep,
)

Z = torch.zeros(3, 4, 1, 1)
MAP = torch.zeros(3, 4, 5, 6)


class Function(nn.Module):
    """A module around a plain function, with optional submodules for it to use."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def _linear(module: nn.Module, inputs: torch.Tensor) -> LinearStep:
    step = capture(module, inputs).steps[0]
    assert isinstance(step, LinearStep)
    return step


def test_conv_transpose_keeps_its_weights():
    module = nn.ConvTranspose2d(4, 6, (3, 5), (2, 3), (1, 2), (1, 2), groups=2)
    step = _linear(module, MAP)
    np.testing.assert_array_equal(step.weights, module.weight.detach().double().numpy())
    assert (step.y.kernel, step.y.up, step.y.crop_before, step.y.crop_after) == (3, 2, 1, 0)
    assert (step.x.kernel, step.x.up, step.x.crop_before, step.x.crop_after) == (5, 3, 2, 0)
    assert (step.y.size, step.x.size, step.groups) == (5, 6, 2)
    assert (step.y.output, step.x.output) == module(MAP).shape[2:]


@pytest.mark.parametrize("padding", [0, 1, (2, 4), "same", "valid"])
@pytest.mark.parametrize("kernel", [3, (4, 2)])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_convolution_geometry(padding, kernel):
    module = nn.Conv2d(4, 6, kernel, padding=padding, groups=2)
    step = _linear(module, MAP)
    assert step.weights.shape == (4, 3, *module.kernel_size)
    flipped = module.weight.detach().double().numpy()[..., ::-1, ::-1]
    np.testing.assert_array_equal(step.weights[3, 2], flipped[5, 1])
    with torch.no_grad():
        assert (step.y.output, step.x.output) == module(MAP).shape[2:]


def test_dilation_becomes_zero_taps():
    step = _linear(nn.ConvTranspose2d(4, 1, 2, dilation=(3, 2)), MAP)
    assert step.weights.shape == (4, 1, 4, 3)
    assert (step.weights[:, :, [0, 0, 3, 3], [0, 2, 0, 2]] != 0).all()
    assert np.count_nonzero(step.weights) == 4 * 4


def test_linear_is_a_point():
    module = nn.Linear(4, 7)
    step = _linear(module, torch.zeros(1, 4))
    assert step.dense and step.weights.shape == (4, 7, 1, 1)
    np.testing.assert_array_equal(step.weights[:, :, 0, 0].T, module.weight.detach().numpy())
    np.testing.assert_array_equal(step.bias, module.bias.detach().numpy())


def test_every_kind_of_step_with_its_module_path():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 18)
            self.net = nn.Sequential(
                nn.BatchNorm2d(2),
                nn.LeakyReLU(0.2, inplace=True),
                nn.Identity(),
                nn.Dropout(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(2, 12, 3),
                nn.PReLU(12),
                nn.PixelShuffle(2),
            )

        def forward(self, z):
            return torch.tanh(self.net(self.fc(z.flatten(1)).view(-1, 2, 3, 3)))

    graph = capture(Net(), Z)
    assert graph.input_shape == (4, 1, 1)
    assert [(type(s), s.name) for s in graph.steps] == [
        (ReshapeStep, "flatten"),
        (LinearStep, "fc"),
        (ReshapeStep, "view"),
        (NormalizeStep, "net.0"),
        (ActivateStep, "net.1"),
        (UpsampleStep, "net.4"),
        (LinearStep, "net.5"),
        (ActivateStep, "net.6"),
        (ShuffleStep, "net.7"),
        (ActivateStep, "tanh"),
    ]


def test_a_layer_used_twice_gets_two_names():
    conv = nn.Conv2d(4, 4, 1)
    graph = capture(Function(lambda self, x: self.conv(F.relu(self.conv(x))), conv=conv), MAP)
    assert [s.name for s in graph.steps if isinstance(s, LinearStep)] == ["conv", "conv:2"]


def test_batch_norm_uses_frozen_statistics_and_leaves_the_module_in_training():
    module = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2, affine=False), nn.Dropout())
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    module.train()
    module[2].eval()
    step = capture(module, MAP).steps[1]
    assert isinstance(step, NormalizeStep)
    np.testing.assert_allclose(step.scale, [1 / 2, 1 / 3], rtol=1e-5)
    np.testing.assert_allclose(step.shift, [-1 / 2, -2 / 3], rtol=1e-5)
    assert [m.training for m in module] == [True, True, False]
    assert norm.num_batches_tracked is not None and norm.num_batches_tracked.item() == 0


@pytest.mark.parametrize("shape, wanted", [((2, 4), (4, 1, 1)), ((2, 4, 1, 1), (4, 1, 1))])
def test_latents_become_maps_for_a_convolution(shape, wanted):
    assert capture(nn.ConvTranspose2d(4, 2, 3), torch.zeros(shape)).input_shape == wanted


def test_maps_become_latents_for_a_linear():
    assert capture(nn.Linear(4, 2), Z).input_shape == (4,)


def test_half_precision_weights():
    module = nn.ConvTranspose2d(4, 2, 3).half()
    np.testing.assert_array_equal(
        _linear(module, Z).weights, module.weight.detach().double().numpy()
    )


CONV = "supported yet, only chains of layers"
REFUSED = [
    (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ELU()),
        r"1: operator 'elu' is not supported; use LeakyReLU",
    ),
    (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softmax(1)),
        r"1: operator 'softmax' is not supported; supported are ConvTranspose2d, .*",
    ),
    (
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        r"0: operator 'pad' is not supported; use padding_mode='zeros' and the padding argument .*",
    ),
    (
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4)),
        r"1: operator 'instance_norm' is not supported; use BatchNorm2d",
    ),
    (
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 4, 3)),
        r"0: operator 'upsample_bilinear2d' is not supported; use mode='nearest' with .*",
    ),
    (
        nn.Sequential(nn.Upsample(size=(10, 9)), nn.Conv2d(4, 4, 3)),
        r"0: upsampling must be by an integer factor, not from 5×6 to 10×9",
    ),
    (
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        r"1: BatchNorm uses the statistics of the batch; train it with track_running_stats=True .*",
    ),
    (
        nn.Linear(6, 2),
        r"linear: Linear takes shape \(N, 4, 5, 6\), which is not \(N, features\); .*",
    ),
    (nn.ReLU(), r"generator must contain a linear layer .*"),
    (
        Function(lambda self, x: F.dropout(self.a(x), training=True), a=nn.Conv2d(4, 4, 1)),
        r"dropout: dropout is forced on with training=True; use nn.Dropout, .*",
    ),
    (
        Function(lambda self, x: x + self.a(x), a=nn.Conv2d(4, 4, 1)),
        rf"add: 'add' joins or starts a branch \(add\); residual adds are not {CONV}: .*",
    ),
    (
        Function(lambda self, x: torch.cat([x, self.a(x)], 1), a=nn.Conv2d(4, 4, 1)),
        rf"cat: 'cat' joins or starts a branch \(cat\); concatenations are not {CONV}: .*",
    ),
    (
        Function(lambda self, x: self.a(x) + torch.ones(5, 6), a=nn.Conv2d(4, 4, 1)),
        r"ones: 'ones' makes a tensor inside the model; constants and random numbers are .*",
    ),
    (
        Function(lambda self, x: (self.a(x) + 1) / 2, a=nn.Conv2d(4, 4, 1)),
        r"add: operator 'add' is not supported; .*",
    ),
    (
        Function(lambda self, x: (self.a(x), x), a=nn.Conv2d(4, 4, 1)),
        r"generator must return the result of its last layer and nothing else",
    ),
    (
        Function(lambda self, x: self.a(x.view(1, 8, 5, 6)), a=nn.Conv2d(8, 4, 1)),
        r"view: 'view' makes shape \(1, 8, 5, 6\) from a batch of 2; keep the batch .*",
    ),
    (
        Function(lambda self, x: self.a(x if x.sum() > 0 else -x), a=nn.Conv2d(4, 4, 1)),
        r"generator could not be exported: .*; remove control flow that depends on values",
    ),
    (
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)),
        r".*'_weight_norm.*' (computes a parameter|joins or starts a branch).*",
    ),
    (
        nn.Conv2d(4, 4, 7, padding=0),
        r"generator does not run on inputs of shape \(N, 4, 5, 6\): .*",
    ),
    (nn.Conv2d(3, 4, 1), r"generator does not run on inputs of shape \(N, 4, 5, 6\): .*"),
]


@pytest.mark.parametrize("module, message", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_refused(module, message):
    with pytest.raises(UserError, match=rf"^{message}$"):
        capture(module, MAP)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("tensor", ["0.weight", "0.bias", "1.running_var"])
def test_weights_that_are_not_finite(tensor, bad):
    module = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
    module.state_dict()[tensor].view(-1)[1] = bad
    with pytest.raises(
        UserError, match=rf"^\d: tensor '{tensor}' must be finite, but holds NaN or an infinity$"
    ):
        capture(module, MAP)


def test_wrong_kinds():
    with pytest.raises(TypeError, match=r"^generator must be a torch.nn.Module, not str$"):
        capture("model", Z)  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        UserError,
        match=r"^inputs must have shape \(N, ...\) with N ≥ 1, not \(4,\); add the batch dimension$",
    ):
        capture(nn.Linear(4, 2), torch.zeros(4))
