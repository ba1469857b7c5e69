"""SP-GAN's criterion: of two channels with similar feature maps one can go (Song et al., IEEE TNNLS, 2021).

Written from the equations; their released code compares one row of the distance matrix only. Distances are Euclidean between
feature maps of length 1, √(2 − 2·cos): the order of 1 − cos is the same.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from organza.compress.chain import Chain
from organza.compress.pruning.channels import count_of, outgoing, unit_norms
from organza.compress.pruning.widths import Width


@torch.no_grad()
def unit_features(chain: Chain, width: Width, inputs: Tensor) -> Tensor:
    """What every unit shows the layer that reads it for a batch of inputs of the chain: (units, values), in evaluation."""
    training = chain.training
    chain.eval()
    maps = chain.all(inputs)[width.read - 1].transpose(0, 1).flatten(1)
    chain.train(training)
    return torch.stack([maps[list(unit)].flatten() for unit in width.inputs])


def distances(features: Tensor) -> np.ndarray:
    """Between all units, float64 (units, units); a unit that shows nothing is at 1 from all others."""
    rows = features.double()
    length = rows.norm(dim=1, keepdim=True)
    rows = torch.where(length > 0, rows / length.clamp_min(1e-300), 0)
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").numpy()


@torch.no_grad()
def similar_units(
    chain: Chain, width: Width, inputs: Tensor, amount: float, *, merge: bool = False, gone: frozenset[int] = frozenset()
) -> list[int]:
    """Units to remove, `amount` of every block of the width, those `gone` already included.

    Again and again, of the two most similar units the one goes whose outgoing weights have the smaller norm. Units that show
    nothing go first. With `merge`, the weights that read it are added to those of the other, times the ratio of both maps'
    norms: `chain` then computes nearly the same without it.
    """
    features = unit_features(chain, width, inputs)
    lengths = features.double().norm(dim=1).numpy()
    reader = chain.list[width.read]
    norms = unit_norms(outgoing(reader), width.inputs, 2)
    far = distances(features)
    np.fill_diagonal(far, np.inf)
    size, count = width.units // width.blocks, count_of(width, amount)
    removed: list[int] = []
    for start in range(0, width.units, size):
        own = [unit for unit in range(start, start + size) if unit not in gone]
        chosen = sorted(gone & set(range(start, start + size)))
        silent = [unit for unit in own if lengths[unit] == 0]
        while len(chosen) < count:
            if silent:
                lost = silent.pop(0)
            else:
                part = far[np.ix_(own, own)]
                one, other = (own[k] for k in np.unravel_index(part.argmin(), part.shape))
                lost, kept = (one, other) if norms[one] <= norms[other] else (other, one)
                if merge and reader.weight is not None:
                    sources, targets = list(width.inputs[lost]), list(width.inputs[kept])
                    reader.weight.data[targets] += lengths[lost] / lengths[kept] * reader.weight.data[sources]
                    norms[kept] = float(outgoing(reader)[targets].norm())
            own.remove(lost)
            chosen.append(lost)
        removed += chosen
    return sorted(removed)
