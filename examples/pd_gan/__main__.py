"""``python -m examples.pd_gan``: train on synthetic ratings, shorten the kernel, and run both products on simulated Verilog."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch

import organza
from examples.pd_gan.chip import Chips
from examples.pd_gan.data import Ratings, make_ratings
from examples.pd_gan.dpp import from_factor, from_kernel, low_rank
from examples.pd_gan.train import LENGTH, Recommender, train

RANKS = (8, 16, 24, 32, 48, 64, 96)
WANTED = 0.95


def agreement(one: list[list[int]], other: list[list[int]]) -> float:
    """Share of users whose lists are the same, in the same order."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def arrays(model: Recommender) -> dict[str, np.ndarray]:
    """P, Q, b, V and the relevance of every item for every user, in float64."""
    with torch.no_grad():
        relevance = model.relevance(torch.arange(len(model.p)))
        found = {"p": model.p, "q": model.q, "b": model.b, "v": model.v, "relevance": relevance}
        return {name: value.double().numpy() for name, value in found.items()}


def shortened(found: dict[str, np.ndarray], ranks: tuple[int, ...] = RANKS) -> tuple[np.ndarray, dict[str, float]]:
    """The factor of the smallest rank whose lists agree with those of the whole kernel for 95 % of the users, or of the
    largest; and how far every rank that was tried agrees.
    """
    kernel = found["v"] @ found["v"].T
    whole = [from_kernel(own, kernel, LENGTH) for own in found["relevance"]]
    tried: dict[str, float] = {}
    factor = found["v"]
    for rank in ranks:
        factor = low_rank(found["v"], rank)
        tried[str(rank)] = agreement([from_factor(own, factor, LENGTH) for own in found["relevance"]], whole)
        if tried[str(rank)] >= WANTED:
            break
    return factor, tried


def genres(ratings: Ratings, lists: list[list[int]]) -> float:
    """Mean number of genres in a list."""
    return float(np.mean([ratings.genres[chosen].any(0).sum() for chosen in lists]))


def on_rtl(chips: Chips, users: int, lanes: int) -> dict[str, Any]:
    """Both products in generated Verilog: whether every bit is the reference's, and cycles an input."""
    made: dict[str, Any] = {}
    for name, program, inputs in zip(("relevance", "gram"), (chips.relevance, chips.gram), chips.inputs(), strict=True):
        chip = organza.build(program, lanes=lanes)
        result = organza.simulate(chip, inputs[:users])
        made[name] = {
            "bit_exact": bool(np.array_equal(result.outputs, program.run(inputs[:users]))),
            "inputs": len(inputs[:users]), "interval": result.interval, "interval_model": chip.plan.interval,
        }  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.pd_gan", description=__doc__)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--items", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=64, help="multipliers of each product")
    options = parser.parse_args()
    ratings = make_ratings(options.users, options.items, 8, seed=options.seed)
    model, notes = train(ratings, seed=options.seed)
    found = arrays(model)
    factor, tried = shortened(found)
    float_lists = [from_factor(own, factor, LENGTH) for own in found["relevance"]]
    report: dict[str, Any] = {
        "training": notes, "rank": factor.shape[1], "agreement_by_rank": tried,
        "kernel_numbers": {"whole": options.items**2, "factor": factor.size},
        "genres_in_a_list": {
            "most_relevant": genres(ratings, [np.argsort(-own)[:LENGTH].tolist() for own in found["relevance"]]),
            "pd_gan": genres(ratings, float_lists),
        },
    }  # fmt: skip
    for code in ("flexpoint", "linear:8"):
        chips = Chips.of(found["p"], found["q"], found["b"], factor, code)
        report[code] = {"lists_as_in_floats": agreement(chips.lists(LENGTH), float_lists), **on_rtl(chips, 20, options.lanes)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
