"""The trained files that ship with the package, against the records of their training."""

import json
from pathlib import Path

import pytest

from organza.checkpoint import load_generator
from organza.commands.model import SHIPPED, TEACHER, load_model

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
