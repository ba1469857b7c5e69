"""A chain whose layers are factorised in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from organza.compress.chain import Chain, ChainLayer
from organza.compress.low_rank.cp import Cp
from organza.compress.low_rank.factors import DEFAULT_BITS, Factors, Rank
from organza.compress.low_rank.ranks import Choice, rank_of_energy, ranks_within
from organza.compress.low_rank.separable import Separable
from organza.compress.low_rank.slr import activation_importance, bounds, cost_importance, shorten, weight_importance
from organza.compress.low_rank.tucker import Tucker
from organza.compress.sketch import Cost

METHODS: dict[str, type[Factors]] = {made.method: made for made in (Separable, Tucker, Cp)}


def factors_of(
    chain: Chain, layers: Sequence[ChainLayer], method: str, bits: int = DEFAULT_BITS
) -> list[Factors | None]:
    """Factorisations of the chosen layers of a chain, None for every other one."""
    return [METHODS[method](layer, bits) if any(layer is one for one in layers) else None for layer in chain.list]


def by_energy(options: Sequence[Factors | None], energy: float) -> list[Choice]:
    """For every layer the smallest rank with a share `energy` of its squared weights, None where that saves nothing."""
    return [
        None if factors is None else rank_of_energy(factors.layer.float_layer(), factors, energy) for factors in options
    ]


def by_budget(chain: Chain, options: Sequence[Factors | None], cost: Cost, share: float) -> list[Choice]:
    """Ranks with which the chain costs at most `share` of what it costs as it is; see `ranks_within`."""
    whole = chain.float_layers()
    return ranks_within(whole, options, cost, share * cost(whole))


def factorize(chain: Chain, options: Sequence[Factors | None], choices: Sequence[Choice]) -> dict[str, Any]:
    """Put the factors of every chosen rank into the chain; layers, ranks and relative errors by name."""
    made: list[ChainLayer] = []
    notes: dict[str, Any] = {}
    for layer, factors, rank in zip(chain.list, options, choices, strict=True):
        if factors is None or rank is None:
            made.append(layer)
            continue
        new = factors.layers(rank)
        made += new
        notes[layer.name] = {
            "layers": [one.name for one in new], "rank": list(rank), "relative_error": factors.error(rank),
            "macs": sum(one.float_layer().macs for one in new), "macs_before": layer.float_layer().macs,
        }  # fmt: skip
    chain.layers = nn.ModuleList(made).train(chain.training)
    return notes


def sparse_rows(
    chain: Chain, before: Chain, ranks: Mapping[str, Rank], importance: str, share: float, short: float,
    inputs: Tensor, loss: Callable[[Chain], float],
) -> dict[str, Any]:  # fmt: skip
    """Sparse low rank on the separable layers of `chain`: see `organza.compress.low_rank.slr`.

    before : the chain before it was factorised. ranks : of the layers of `before`, by name. inputs : a batch, for
    "activation"; loss : of a chain, for "cost".
    """
    notes: dict[str, Any] = {}
    numbers = {layer.name: number for number, layer in enumerate(chain.list)}
    for number, layer in enumerate(before.list):
        if layer.name not in ranks:
            continue
        (rank,) = ranks[layer.name]
        place = numbers[f"{layer.name}:vertical"]
        if importance == "weight":
            rows, columns = weight_importance(layer)
        elif importance == "activation":
            rows, columns = activation_importance(before, number, inputs)
        else:
            rows, columns = cost_importance(chain, place, rank, short, loss)
        kept = [bounds(np.asarray(one).ravel(), rank, share, short).reshape(one.shape) for one in (rows, columns)]
        vertical, horizontal = chain.list[place : place + 2]
        shorten(vertical, horizontal, *kept)
        notes[layer.name] = {"values": int(kept[0].sum() + kept[1].sum()), "values_before": rank * (rows.size + columns.size)}
    return notes
