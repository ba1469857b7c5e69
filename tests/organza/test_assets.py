"""The trained files that ship with the package, against the records of their training."""

import json
from pathlib import Path

import pytest

from organza import assets
from organza.checkpoint import load_discriminator, load_generator
from organza.commands.model import SHIPPED, TEACHER, load_model
from organza.compress.recipe import load_recipe
from organza.compress.run import Settings, run_recipe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "record"), [(SHIPPED, "training"), (TEACHER, "teacher")])
def test_generator_is_the_recorded_one(name, record):
    stated = json.loads((ROOT / f"docs/results/{record}.json").read_text())
    generator, metadata = load_generator(ROOT / stated["asset"])
    assert sum(parameter.numel() for parameter in generator.parameters()) == stated["generator"]["parameters"]
    assert metadata["step"] == stated["steps"]
    model = load_model(name, weights=None, input_shape=None, calibration=None, method="mse")
    assert model.program.input_shape == (stated["generator"]["latent"], 1, 1)
    width = stated["generator"]["width"]
    assert [node.co for node in model.program.nodes] == [4 * width, 2 * width, width, 1]


def test_the_discriminator_is_of_the_same_training_as_its_generator():
    stated = json.loads((ROOT / "docs/results/teacher.json").read_text())
    path = assets.discriminator_file(TEACHER)
    assert path == ROOT / stated["discriminator"]["asset"]
    model, metadata = load_discriminator(path)
    made = load_generator(ROOT / stated["asset"])[1]
    assert metadata["step"] == made["step"] == stated["steps"] and metadata["training"] == made["training"]
    assert model.settings["width"] == stated["discriminator"]["width"] and model.settings["resolution"] == 32


def test_a_shipped_recipe_finds_everything_that_it_names(tmp_path):
    """A first stage of real training in the shipped discriminator, without a flag."""
    recipe = load_recipe(ROOT / "examples/recipes/tgan.toml")
    recipe = recipe.model_copy(update={"report": recipe.report.model_copy(update={"images": 20, "seeds": 1, "latents": 10})})
    report = run_recipe(recipe, tmp_path / "run", Settings(folder=ROOT / "examples/recipes", data="sample", most_steps=1))
    assert report["program"] is not None and report["stages"][-1]["compression_ratio"] > 15
