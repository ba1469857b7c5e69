"""Rows of the study: every recipe that ships, and comparisons that differ in what they say."""

from pathlib import Path

import pytest

from organza.models import Generator, GeneratorConfig
from organza_sim.study.rows import DENSE_WIDTH, ENCODINGS, FULL_STEPS, LEVELS, SEEDS, STEPS, all_rows, systems
from organza_sim.study.run import key_of
from organza_sim.study.weight_error import weight_errors

RECIPES = Path(__file__).parents[3] / "examples/recipes"


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in all_rows(RECIPES)}


def test_every_system_has_a_row(rows):
    shipped = {path.stem for path in RECIPES.glob("*.toml")}
    assert len(shipped) > 25 and shipped <= rows.keys() and {row.name for row in systems(RECIPES)} == shipped
    assert len({key_of(row.recipe(0)) for row in rows.values()}) == len(rows)


def test_steps_are_those_of_the_study(rows):
    for row in rows.values():
        for steps in (STEPS, FULL_STEPS):
            trained = [stage.steps for stage in row.recipe(0, steps=steps).stages if stage.kind == "finetune"]
            assert all(0 < found <= steps for found in trained), row.name
    kinds = {stage.kind: stage for stage in rows["qgan"].recipe(0, steps=10 * STEPS).stages}
    assert kinds["search"].finetune.steps == 3000 and kinds["finetune"].steps == 10 * STEPS


def test_seeds_and_steps_are_in_the_key(rows):
    row = rows["em-1"]
    assert len({key_of(row.recipe(seed, steps=steps)) for seed in (0, 1) for steps in (10, 20)}) == 4
    assert row.seeds == SEEDS and row.recipe(2).seed == 2
    assert row.recipe(0).report.quality == "last" and row.recipe(0).report.images == 10_000


def test_the_dense_generator_has_no_fewer_bits_than_the_hashed_one():
    sizes = [
        sum(p.numel() for p in Generator(GeneratorConfig(64, width, 32, 1)).parameters() if p.ndim == 4)
        for width in (DENSE_WIDTH, 16)
    ]  # fmt: skip
    assert sizes[1] / 8 <= sizes[0] <= 1.05 * sizes[1] / 8


def test_comparisons_differ_in_one_thing():
    recipes = {row.name: row.recipe(0) for row in all_rows(RECIPES)}
    assert len(ENCODINGS) == 5
    for code, (distilled, _) in ENCODINGS.items():
        with_, without = recipes[distilled], recipes[f"{code}-plain"]
        assert with_.stages[0] == without.stages[0] and with_.student == without.student
        assert set(with_.stages[1].losses) - set(without.stages[1].losses) == {"pixel"}


@pytest.mark.parametrize("checkpoint", ["dcgan32-w16", "dcgan32-w32"])
def test_em_has_the_least_weight_error(checkpoint):
    """QGAN's claim about levels, on every layer of both shipped generators with 1 to 4 bits."""
    found = weight_errors(checkpoint)
    assert len(found) == 16
    for errors in found.values():
        assert set(errors) == set(LEVELS)
        assert all(errors["em"] < error for code, error in errors.items() if code != "em")
