# amaranth: UnusedElaboratable=no
"""The recommender of `examples/pd_gan`: greedy lists against determinants, the kernel's rank, both products on the RTL."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.pd_gan.__main__ import agreement, arrays, genres, shortened
from examples.pd_gan.chip import BITS, Chips
from examples.pd_gan.data import diverse_lists, make_ratings
from examples.pd_gan.dpp import from_factor, from_kernel, low_rank, sample_lists
from examples.pd_gan.train import LENGTH, Sizes, train
from organza.formats import Fixed
from organza_sim.planner import plan_program
from tests.organza_sim.layer_cases import Case
from tests.organza_sim.test_cycles import check_free, check_stalled

ROOT = Path(__file__).parent.parent


def by_determinants(relevance: np.ndarray, kernel: np.ndarray, length: int) -> list[int]:
    """The greedy list from determinants alone."""
    whole = relevance[:, None] * kernel * relevance
    chosen: list[int] = []
    for _ in range(length):
        left = [item for item in range(len(kernel)) if item not in chosen]
        chosen.append(max(left, key=lambda item: np.linalg.det(whole[np.ix_([*chosen, item], [*chosen, item])])))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_greedy_lists_have_the_largest_determinants(seed):
    rng = np.random.default_rng(seed)
    factor, relevance = rng.normal(size=(12, 7)), rng.uniform(0.1, 1, 12)
    wanted = by_determinants(relevance, factor @ factor.T, 5)
    assert from_kernel(relevance, factor @ factor.T, 5) == wanted
    assert from_factor(relevance, factor, 5) == wanted


def test_low_rank_is_the_nearest_kernel():
    factor = np.random.default_rng(0).normal(size=(10, 6))
    values, vectors = np.linalg.eigh(factor @ factor.T)
    nearest = (vectors[:, -3:] * values[-3:]) @ vectors[:, -3:].T
    made = low_rank(factor, 3)
    assert made.shape == (10, 3) and made @ made.T == pytest.approx(nearest)
    assert low_rank(factor, 6) @ low_rank(factor, 6).T == pytest.approx(factor @ factor.T)


def test_drawn_lists_have_their_probability_and_a_gradient():
    """How often pairs are drawn, against the product of their shares of d²."""
    rng = np.random.default_rng(1)
    factor, relevance = rng.normal(size=(4, 3)), rng.uniform(0.3, 1, 4)
    whole = relevance[:, None] * (factor @ factor.T) * relevance
    count = 20_000
    v = torch.from_numpy(factor).float().requires_grad_()
    r = torch.from_numpy(np.tile(relevance, (count, 1))).float()
    drawn, log_p = sample_lists(r, v, 2, torch.Generator().manual_seed(0))
    log_p.sum().backward()
    assert v.grad is not None and bool(v.grad.abs().sum() > 0)
    for first, second in itertools.permutations(range(4), 2):
        after = {item: whole[item, item] - whole[item, first] ** 2 / whole[first, first] for item in range(4) if item != first}
        wanted = whole[first, first] / np.trace(whole) * after[second] / sum(after.values())
        hits = (drawn[:, 0] == first) & (drawn[:, 1] == second)
        assert float(log_p[hits][0].detach().exp()) == pytest.approx(wanted, rel=1e-3)
        assert float(hits.float().mean()) == pytest.approx(wanted, abs=4 * np.sqrt(wanted / count))


def small(seed: int = 0):
    """Ratings, and the arrays of a recommender that was trained for a moment."""
    ratings = make_ratings(30, 24, 4, seed=seed, share=0.6)
    sizes = Sizes(features=5, relevance_steps=60, kernel_steps=40, adversarial_steps=5, batch=16)
    model, notes = train(ratings, sizes, seed)
    return ratings, arrays(model), notes


def test_data_looks_like_ratings():
    ratings = make_ratings(200, 160, 8)
    known = ratings.stars[np.isfinite(ratings.stars)]
    assert set(known) == {1, 2, 3, 4, 5} and 0.25 < np.isfinite(ratings.stars).mean() < 0.35
    assert set(ratings.genres.sum(1)) == {1, 2, 3}
    lists = diverse_lists(ratings, LENGTH, per_user=2)
    for user, own in lists.items():
        assert all(ratings.liked[user][row].all() and len(set(row)) == LENGTH for row in own.tolist())


@pytest.mark.rtl
def test_both_products_on_the_chip():
    _, found, notes = small()
    assert all(np.isfinite(value) for value in notes.values()) and notes["kernel_gain"] > 0
    factor = low_rank(found["v"], 6)
    chips = Chips.of(found["p"], found["q"], found["b"], factor)
    real = 1 / (1 + np.exp(-(found["p"] @ found["q"].T + found["b"])))
    for program, inputs, wanted in zip((chips.relevance, chips.gram), chips.inputs(), (real, factor @ factor.T), strict=True):
        made = program.dequantize(program.run(inputs))[:, :, 0, 0]
        assert np.abs(made - wanted).max() < 2e-3 * np.abs(wanted).max()
        assert [node.y.kernel for node in program.nodes] == [1] and program.output.bits == BITS
        chosen = Case(program, plan_program(program, 12), inputs[:3])
        check_free(chosen)
        check_stalled(chosen, 5)
    assert isinstance(chips.relevance.output, Fixed)
    floats = [from_factor(own, factor, 3) for own in found["relevance"]]
    assert agreement(chips.lists(3), floats) >= 0.9


@pytest.mark.full
@pytest.mark.rtl
def test_the_example(tmp_path):
    """As a user runs it: a rank far below the items' number, the same lists for 95 %, bit-exact on generated Verilog."""
    result = subprocess.run([sys.executable, "-m", "examples.pd_gan"], cwd=ROOT, capture_output=True, text=True, check=True)
    report = json.loads(result.stdout)
    assert report["rank"] <= 160 / 4 and report["agreement_by_rank"][str(report["rank"])] >= 0.95
    assert report["genres_in_a_list"]["pd_gan"] > report["genres_in_a_list"]["most_relevant"] + 1
    assert report["flexpoint"]["lists_as_in_floats"] >= 0.95
    for code in ("flexpoint", "linear:8"):
        for product in ("relevance", "gram"):
            row = report[code][product]
            assert row["bit_exact"] and row["interval"] == row["interval_model"]


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds(seed):
    ratings = make_ratings(200, 160, 8, seed=seed)
    found = arrays(train(ratings, seed=seed)[0])
    factor, tried = shortened(found)
    assert factor.shape[1] <= 160 / 4 and max(tried.values()) >= 0.95
    lists = [from_factor(own, factor, LENGTH) for own in found["relevance"]]
    assert genres(ratings, lists) > 5
