"""Wider layers that compute the same: SP-GAN's growing (Song et al., IEEE TNNLS, 2021), function preserving.

Their released code only repeats kernels. Here the weights that read a repeated channel are divided by the number of its copies
(Net2Net, Chen et al., arXiv:1511.05641), so training goes on from where it was; a little noise makes copies differ.
"""

from __future__ import annotations

import torch

from organza.compress.chain import Chain, ChainLayer
from organza.compress.pruning.slicing import take_groups, take_inputs, take_outputs
from organza.compress.pruning.widths import Width, widths
from organza.errors import UserError
from organza.models import check_int
from organza.sampling import seeded

_NOISE = 32


def grow(chain: Chain, factor: int, *, noise: float = 0.0, layers: tuple[str, ...] | None = None, seed: int = 0) -> None:
    """Make the channels between layers `factor` times as many, in place.

    noise : added to the repeated weights, a share of each layer's root mean square; 0 keeps the function. layers : names of
    the layers that make the channels; None for all.

    Raises TypeError / ValueError for wrong numbers, `UserError` for a layer whose channels cannot become more.
    """
    check_int("grow factor", factor, 2, 64)
    if not 0 <= noise < 1:
        raise ValueError(f"grow noise must be in [0, 1), not {noise}")
    found = {width.name: width for width in widths(chain)}
    for name in layers or ():
        if name not in found:
            raise UserError(f"grow layers names {name!r}; the channels of {', '.join(found)} can grow")
    for number, width in enumerate(found[name] for name in layers or found):
        _widen(chain, width, factor)
        if noise:
            for side, layer in enumerate((chain.list[width.made], chain.list[width.read])):
                _disturb(layer, noise, (seed, _NOISE, number, side))


@torch.no_grad()
def _widen(chain: Chain, width: Width, factor: int) -> None:
    copies = [unit for unit in range(width.units) for _ in range(factor)]
    take_outputs(chain.list[width.made], [channel for unit in copies for channel in width.outputs[unit]])
    for number, groups in enumerate(width.between, width.made + 1):
        take_groups(chain.list[number], [group for unit in copies for group in groups[unit]])
    reader = chain.list[width.read]
    take_inputs(reader, [channel for unit in copies for channel in width.inputs[unit]])
    assert reader.weight is not None
    reader.weight.data /= factor


@torch.no_grad()
def _disturb(layer: ChainLayer, noise: float, key: tuple[int, ...]) -> None:
    assert layer.weight is not None
    size = noise * layer.weight.square().mean().sqrt()
    layer.weight.data += size * torch.randn(layer.shape, generator=seeded(*key))
