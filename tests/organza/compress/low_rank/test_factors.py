"""Factorised layers compute what their decomposition says; at full rank, what the layer did."""

from copy import deepcopy

import numpy as np
import pytest
import tensorly
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorly.decomposition import partial_tucker
from torch import nn

from organza.compress.chain import ChainLayer
from organza.compress.coders.uniform import UniformCoder
from organza.compress.low_rank.cp import Cp
from organza.compress.low_rank.factorize import METHODS, factorize, factors_of
from organza.compress.low_rank.separable import Separable
from organza.compress.low_rank.tucker import Tucker
from organza.errors import UserError
from organza.float_layers import FloatLayer, float_run
from organza.geometry import Axis
from organza.graph import Activation
from tests.organza.compress.neighbours import NETS, inputs, net


@st.composite
def axes(draw):
    """Any axis that has an output."""
    kernel, size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    up = draw(st.integers(1, 3))
    down = draw(st.integers(1, 3 if up == 1 else 1))
    full = (size - 1) * up + kernel
    before = draw(st.integers(-1, min(kernel - 1, full - 1)))
    after = draw(st.integers(-1, min(kernel - 1, full - 1 - max(before, 0))))
    return Axis(size=size, kernel=kernel, up=up, down=down, crop_before=before, crop_after=after)


def random_layer(y: Axis, x: Axis, groups: int, cig: int, cog: int, seed: int = 0) -> ChainLayer:
    rng = np.random.default_rng(seed)
    return ChainLayer(FloatLayer(
        name="a", weights=rng.normal(size=(groups * cig, cog, y.kernel, x.kernel)), bias=rng.normal(size=groups * cog), y=y, x=x,
        groups=groups, activation=Activation("slope", rng.uniform(0.1, 0.9, groups * cog)),
    )).double()  # fmt: skip


def run(layers: list[ChainLayer], x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
    return x


@given(axes(), axes(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.sampled_from([Separable, Tucker]))
@settings(max_examples=60)
def test_full_rank_is_exact(y, x, groups, cig, cog, method):
    layer = random_layer(y, x, groups, cig, cog)
    factors = method(layer)
    rank = factors.ranks[-1]
    assert factors.error(rank) < 1e-20
    made = [new.double() for new in factors.layers(rank)]
    value = torch.randn(2, groups * cig, y.size, x.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(run(made, value), run([layer], value), rtol=1e-5, atol=1e-5)  # factors are float32
    assert [new.float_layer().output_shape[1:] for new in made][-1] == (y.output, x.output)
    assert all(new.float_layer().activation.identity and new.bias is None for new in made[:-1])


# 3×4 taps with different strides: nothing is symmetric by chance.
LAYER = Axis(size=3, kernel=3, up=2, crop_before=1), Axis(size=4, kernel=4, up=1, crop_before=1, crop_after=2)


def reconstructed(method: str, layer: ChainLayer, rank: tuple[int, ...]) -> np.ndarray:
    """Weights of the truncated decomposition by NumPy's SVD and by tensorly, not by our layers."""
    weight = layer.weight.detach().numpy()
    if method == "separable":
        matrix = weight.transpose(0, 2, 1, 3).reshape(5 * 3, 6 * 4)
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        matrix = (u[:, : rank[0]] * s[: rank[0]]) @ v[: rank[0]]
        return matrix.reshape(5, 3, 6, 4).transpose(0, 2, 1, 3)
    if method == "tucker":
        core, factors = partial_tucker(weight, rank=list(rank), modes=[0, 1])[0]
        return tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
    i, o, y, x = Cp(layer)._decomposed(rank)[0]
    return np.asarray(tensorly.cp_to_tensor((None, [i, o, y, x])))


@pytest.mark.parametrize("method, rank", [("separable", (4,)), ("tucker", (3, 2)), ("cp", (6,))])
def test_truncated_layers_are_the_reconstruction(method, rank):
    layer = random_layer(*LAYER, 1, 5, 6)
    factors = METHODS[method](layer)
    wanted = reconstructed(method, layer, rank)
    other = deepcopy(layer)
    other.weight = nn.Parameter(torch.from_numpy(wanted))
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    made = [new.double() for new in factors.layers(rank)]
    torch.testing.assert_close(run(made, x), run([other], x), rtol=1e-5, atol=1e-5)
    original = layer.weight.detach().numpy()
    assert factors.error(rank) == pytest.approx(((wanted - original) ** 2).sum() / (original**2).sum(), rel=1e-6)


def test_cp_finds_what_is_a_sum_of_products():
    rng = np.random.default_rng(2)
    layer = random_layer(*LAYER, 1, 5, 6)
    parts = [rng.normal(size=(size, 2)) for size in (5, 6, 3, 4)]
    layer.weight = nn.Parameter(torch.from_numpy(tensorly.cp_to_tensor((None, parts))))
    assert Cp(layer).error((2,)) < 1e-6 < 0.01 < Cp(layer).error((1,))


@pytest.mark.parametrize("method", ["separable", "tucker"])
def test_more_components_lose_less(method):
    factors = METHODS[method](random_layer(*LAYER, 2, 4, 3))
    errors = [factors.error(rank) for rank in factors.ranks]
    assert errors[0] < 1 and errors[-1] < 1e-20
    assert all(a >= b - 1e-12 for a, b in zip(errors, errors[1:], strict=False))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", METHODS)
def test_chains_keep_normalisation_and_activation(name, method):
    """Full rank, or for CP the layers of its own reconstruction."""
    chain = net(name)
    options = factors_of(chain, [layer for layer in chain.list if not layer.passthrough], method)
    choices = [None if factors is None else factors.ranks[-1] for factors in options]
    x = inputs(4)
    if method == "cp":
        choices = [None if factors is None else (3,) for factors in options]
        for layer, factors in zip(chain.list, options, strict=True):
            if factors is not None:
                whole = [np.einsum("ir,or,yr,xr->ioyx", *parts) for parts in factors._decomposed((3,))]
                layer.weight.data = torch.from_numpy(np.concatenate(whole)).float()
    with torch.no_grad():
        wanted = chain(x)
        notes = factorize(chain, options, choices)
        torch.testing.assert_close(chain(x), wanted, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(float_run(chain.float_layers(), x), wanted, rtol=1e-3, atol=1e-4)
    assert len({layer.name for layer in chain.list}) == len(chain.list)
    for note in notes.values():
        assert note["macs"] == sum(layer.macs for layer in chain.float_layers() if layer.name in note["layers"])
    chain.train()(inputs(8)).square().mean().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in chain.list if not layer.passthrough)


def test_only_tensors_between_factors_have_more_bits():
    chain = net("dcgan")
    factorize(chain, factors_of(chain, chain.list[:2], "tucker", 12), [(4, 4), (3, 3), None])
    assert [layer.bits for layer in chain.list] == [12, 12, None, 12, 12, None, None]
    assert [layer.bits for layer in chain.float_layers()] == [12, 12, None, 12, 12, None, None]


def test_sketches_have_the_shapes_of_the_layers():
    layer = random_layer(*LAYER, 2, 2, 3)
    for method, rank in (("separable", (3,)), ("tucker", (2, 2)), ("cp", (4,))):
        factors = METHODS[method](layer)
        for sketch, made in zip(factors.sketch(rank), factors.layers(rank), strict=True):
            real = made.float_layer()
            assert (sketch.name, sketch.weights.shape, sketch.y, sketch.x, sketch.groups) == (
                real.name, real.weights.shape, real.y, real.x, real.groups)  # fmt: skip
            assert sketch.output_shape == real.output_shape


def test_masks_are_part_of_what_is_factorised():
    layer = random_layer(*LAYER, 1, 5, 6)
    layer.mask = torch.rand(layer.shape) < 0.5
    factors = Separable(layer)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    made = [new.double() for new in factors.layers(factors.ranks[-1])]
    assert all(new.mask is None for new in made)
    torch.testing.assert_close(run(made, x), run([layer], x), rtol=1e-5, atol=1e-5)


def test_ranks_that_a_layer_does_not_have():
    chain = net("dcgan")
    with pytest.raises(UserError, match="^3: rank must be 1…24, not 25$"):
        Separable(chain.list[1]).check((25,))
    with pytest.raises(UserError, match="^3: rank must be 1…8 and 1…6, not 3$"):
        Tucker(chain.list[1]).check((3,))
    with pytest.raises(UserError, match=r"^a: ranks \[1, 3\] are further apart than the taps can tell; \(1, 1\) do$"):
        Tucker(random_layer(Axis(size=2, kernel=1), Axis(size=2, kernel=1), 1, 4, 4)).check((1, 3))
    Cp(chain.list[1]).check((96,))


def test_layers_that_cannot_be_factorised_are_named():
    chain = net("shuffle")
    with pytest.raises(UserError, match="^2: only moves values, there is nothing to factorise$"):
        Separable(chain.list[1])
    chain.list[0].code_with(UniformCoder(chain.list[0].shape, 1))
    with pytest.raises(UserError, match="^0: has a code already; factorise before quantize$"):
        Tucker(chain.list[0])
    with pytest.raises(ValueError, match="^bits between factors must be between 10 and 16, not 8$"):
        Separable(net("dcgan").list[0], 8)
