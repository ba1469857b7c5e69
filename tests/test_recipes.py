"""The recipes that ship: each is read, keeps the rules and is in the docs; each runs from its teacher to its Program."""

from __future__ import annotations

from pathlib import Path

import pytest

from organza.commands.compress import cycle_model
from organza.compress.recipe import load_recipe
from organza.compress.run import Settings, run_recipe
from organza.program_file import load_program

ROOT = Path(__file__).parents[1]
# Of most recipes 8 bits a weight or fewer. Flexpoint has 16; after a single step no bits are good enough for QGAN's search.
LEAST_RATIO, OTHER_RATIOS = 3.9, {"flexpoint": 1.9, "qgan": 0.99}
RECIPES = sorted((ROOT / "examples/recipes").glob("*.toml"))


def test_every_recipe_is_valid_and_says_what_it_is():
    documented = (ROOT / "docs/compression.md").read_text()
    assert len(RECIPES) > 20
    for path in RECIPES:
        recipe = load_recipe(path)
        assert len(recipe.about) > 15 and recipe.teacher.checkpoint == "dcgan32-w32", path.name
        name = path.stem if not path.stem.startswith("pruning-") else path.stem.removeprefix("pruning")
        assert f"`{name}`" in documented or f"`{path.stem}`" in documented, path.name


def run(path: Path, out: Path) -> dict:
    recipe = load_recipe(path)
    recipe = recipe.model_copy(update={"report": recipe.report.model_copy(update={"images": 50, "seeds": 1, "latents": 20})})
    settings = Settings(folder=path.parent, data="sample", most_steps=1, cost=cycle_model(None))
    return run_recipe(recipe, out, settings)


@pytest.mark.full
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_runs(path, tmp_path):
    report = run(path, tmp_path / "run")
    last = report["stages"][-1]
    if "float" in path.stem:
        assert report["program"] is None and last["compression_ratio_weights"] == 2
        return
    program = load_program(tmp_path / "run" / "program.safetensors")
    assert last["compression_ratio"] > OTHER_RATIOS.get(path.stem, LEAST_RATIO) and last["interval"] > 0 and program.output_shape == (1, 32, 32)
