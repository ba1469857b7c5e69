"""A recipe on a generator and pictures of the user's own, small enough to be run dozens of times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from organza.compress.recipe import Recipe, load_recipe
from organza.compress.run import Settings

MODEL = """
from torch import nn

def make_generator():
    return nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()
    )

def make_discriminator():
    return nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 5, 3, 1, 1), nn.BatchNorm2d(5), nn.LeakyReLU(0.2),
        nn.Conv2d(5, 1, 4), nn.Flatten(0),
    )

def make_small():
    return nn.Sequential(nn.ConvTranspose2d(6, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh())

def make_other():
    return nn.Sequential(nn.ConvTranspose2d(6, 4, 4), nn.Tanh())

def make_grey():
    return nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 4), nn.Flatten(0))
"""

TEACHER = """
about = "a recipe of the tests"
[teacher]
checkpoint = "model.py:make_generator"
weights = "w.safetensors"
input_shape = [6, 1, 1]
discriminator = "model.py:make_discriminator"
discriminator_weights = "d.safetensors"
data = "pictures"
[report]
images = 16
seeds = 1
latents = 8
"""

STAGES = """
[[stage]]
quantize = { code = "uniform", bits = 4 }
[[stage]]
finetune = { steps = 3, batch = 8 }
[[stage]]
encode = { lossless = "huffman" }
"""


def write_files(folder: Path, stages: str = STAGES, teacher: str = TEACHER) -> Path:
    """Model, weights, pictures and recipe; the path of the recipe."""
    scope: dict = {}
    exec(MODEL, scope)
    (folder / "model.py").write_text(MODEL)
    for name, function, seed in (("w", "make_generator", 1), ("d", "make_discriminator", 2)):
        torch.manual_seed(seed)
        module = scope[function]()
        if name == "w":  # statistics as of a trained generator: those of its own results
            module[1].momentum = None
            module.train()(torch.randn(2000, 6, 1, 1))
        save_file(module.state_dict(), folder / f"{name}.safetensors")
    (folder / "pictures").mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    for number in range(24):
        pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:02}.png")
    recipe = folder / "recipe.toml"
    recipe.write_text(teacher + stages)
    return recipe


def loaded(recipe: Path, **settings: object) -> tuple[Recipe, Settings]:
    """What `run_recipe` takes."""
    return load_recipe(recipe), Settings(folder=recipe.parent, **settings)  # type: ignore[arg-type]
