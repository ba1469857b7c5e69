"""ApGAN on chains: which layers to binarise, signs between layers, and what keeps a discriminator's signs diverse.

Roohi et al., ApGAN, IEEE TC 2020 (best reading of abstract and survey); Cao et al., Improving GAN Training via
Binarized Representation Entropy Regularization, ICLR 2018.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from organza.codes.binary import binarise_by_redundancy
from organza.compress.activations import Grid
from organza.compress.chain import Chain, ChainLayer

SOFTNESS = 0.001


def redundant_layers(chain: Chain) -> list[ChainLayer]:
    """ApGAN's layers to binarise: those whose inputs have more channels than places (redundancy c − h · w > 0)."""
    return [
        layer for layer in chain.list
        if not layer.passthrough and binarise_by_redundancy(layer.shape[0], layer.y.size, layer.x.size)
    ]  # fmt: skip


def make_signs(layer: ChainLayer, grid: Grid) -> None:
    """Let `layer` give signs: `grid`, of one bit, instead of its activation, behind which all might be positive."""
    layer.kind = "slope"
    layer.slopes = nn.Parameter(torch.ones(layer.co), requires_grad=False)
    layer.grid = grid


def representation_entropy(h: Tensor) -> Tensor:
    """BRE of pre-activations `h` (samples, units): how far their signs are from independent coins; 0 at best.

    With a = h / (|h| + ε), ε = 0.001 · mean|h|: the mean square over units of the mean of a over samples, plus the mean
    over pairs of samples of max(0, |a_i · a_j| / units − 3 / √units).
    """
    units, samples = h.shape[1], len(h)
    a = h / (h.abs() + SOFTNESS * h.detach().abs().mean() + torch.finfo(h.dtype).tiny)
    marginal = a.mean(0).square().mean()
    likeness = (a @ a.T).abs() / units
    excess = (likeness - 3 / sqrt(units)).clamp_min(0)
    pairs = samples * (samples - 1)
    return marginal + (excess.sum() - excess.diagonal().sum()) / max(pairs, 1)


def critic_entropy(critic: Chain, images: Tensor) -> Tensor:
    """`representation_entropy` of all layers of a discriminator but the last, summed."""
    value, total = images.reshape(len(images), *critic.input_shape), images.new_zeros(())
    for layer in critic.list[:-1]:
        h = layer.normalise(layer.sums(value))
        if not layer.passthrough:
            total = total + representation_entropy(h.flatten(1))
        value = layer.activate(h)
    return total
