"""Teacher, discriminator, student and data from wherever users keep them, and every mismatch named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from organza.checkpoint import save_discriminator, save_generator
from organza.compress.chain_file import save_chain
from organza.compress.recipe import parse_recipe
from organza.compress.sources import digest_of, load_data, load_scoring, load_start
from organza.errors import UserError
from organza.models import Discriminator, Generator, GeneratorConfig
from tests.organza.compress.nets import generator
from tests.organza.compress.tiny_run import write_files

PYTHON = {"checkpoint": "model.py:make_generator", "weights": "w.safetensors", "input_shape": [6, 1, 1]}
STAGE = {"finetune": {"steps": 1}}


def recipe(teacher: dict, student: dict | None = None):
    return parse_recipe({"teacher": teacher, "stage": [STAGE], **({} if student is None else {"student": student})})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The tiny files, and checkpoints as `organza train` writes them."""
    made = tmp_path_factory.mktemp("sources")
    write_files(made)
    torch.manual_seed(0)
    save_generator(made / "g.safetensors", Generator(GeneratorConfig(latent=3, width=2)), {})
    save_discriminator(made / "d32.safetensors", Discriminator(resolution=32, channels=1, width=2), {})
    save_chain(made / "chain.safetensors", generator())
    return made


def images(chain, seed: int = 0) -> torch.Tensor:
    z = torch.randn(4, *chain.input_shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return chain.eval()(z)


def test_a_python_teacher_with_its_discriminator(folder):
    settings = {**PYTHON, "discriminator": "model.py:make_discriminator", "discriminator_weights": "d.safetensors"}
    start = load_start(recipe(settings), folder)
    assert start.generator is start.teacher and start.judge is not None and start.critic is not None
    assert start.teacher.output_shape == (3, 8, 8) == start.judge.input_shape
    from organza.loading import load_generator

    module = load_generator(f"{folder}/model.py:make_generator", folder / "w.safetensors")
    z = torch.randn(4, 6, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(start.teacher.eval()(z), module(z), rtol=1e-4, atol=1e-5)


def test_checkpoints_of_train_and_of_compress(folder):
    start = load_start(recipe({"checkpoint": "g.safetensors", "discriminator": "d32.safetensors"}), folder)
    assert start.teacher.input_shape == (3, 1, 1) and start.judge is not None and start.judge.input_shape == (1, 32, 32)
    again = load_start(recipe({"checkpoint": "chain.safetensors", "discriminator": "none"}), folder)
    assert torch.equal(images(again.teacher), images(generator())) and again.critic is None


def test_shipped_names_and_fresh_discriminators(folder):
    start = load_start(recipe({"checkpoint": "dcgan32-w16", "discriminator": "fresh"}), folder)
    assert start.teacher.input_shape == (64, 1, 1) and start.judge is None
    assert start.critic is not None and start.critic.list[0].co == 24  # 1.5 times the generator's width, as organza train has it
    other = load_start(recipe({"checkpoint": "dcgan32-w16.safetensors"}), folder)
    assert other.critic is None and torch.equal(images(other.teacher), images(start.teacher))
    normed = load_start(recipe({"checkpoint": "g.safetensors", "discriminator": "fresh", "loss": "wgan-gp"}), folder)
    assert normed.critic is not None and all(layer.norm is None for layer in normed.critic.list)


def test_students_are_other_generators_of_the_same_images(folder):
    small = {"checkpoint": "model.py:make_small", "input_shape": [6, 1, 1]}
    start = load_start(recipe(PYTHON, small), folder)
    assert start.generator.list[0].co == 4 and start.teacher.list[0].co == 8
    wide = load_start(recipe({"checkpoint": "g.safetensors"}, {"width": 5}), folder)
    assert [layer.co for layer in wide.generator.list] == [20, 10, 5, 1]
    same = load_start(recipe({"checkpoint": "g.safetensors"}, {"width": 5}), folder)
    assert torch.equal(images(wide.generator), images(same.generator))
    fresh = load_start(recipe(PYTHON, {**PYTHON, "fresh": True}), folder)
    assert not torch.equal(images(fresh.generator), images(fresh.teacher))


@pytest.mark.parametrize("teacher, student, message", [
    ({"checkpoint": "gone.safetensors"}, None, "^teacher.checkpoint: .*gone.safetensors: no such file; give .* dcgan32-w16, dcgan32-w32$"),
    ({"checkpoint": "model.py:make_generator"}, None, r"^teacher.input_shape: must say what shape model.py:make_generator takes"),
    ({**PYTHON, "weights": "d.safetensors"}, None, "^teacher.checkpoint: .*d.safetensors: tensor '.*' is missing"),
    ({**PYTHON, "input_shape": [7, 1, 1]}, None, "^teacher.checkpoint: "),
    ({"checkpoint": "g.safetensors", "weights": "w.safetensors"}, None, "^teacher.checkpoint: weights and input_shape go with"),
    ({"checkpoint": "d32.safetensors"}, None, "^teacher.checkpoint: .* must hold a generator, found 'discriminator'$"),
    ({**PYTHON, "discriminator": "model.py:make_grey"}, None, "^teacher.discriminator: "),
    ({**PYTHON, "discriminator": "d32.safetensors"}, None,
     r"^teacher.discriminator: must take images of shape \(3, 8, 8\) as the teacher makes, not \(1, 32, 32\)$"),
    ({**PYTHON, "discriminator": "gone.safetensors"}, None, "^teacher.discriminator: .*gone.safetensors: no such file"),
    ({**PYTHON, "discriminator": "g.safetensors"}, None, "^teacher.discriminator: .*must hold a discriminator, found 'generator'$"),
    ({**PYTHON, "discriminator": "fresh"}, None, "^teacher.discriminator: 'fresh' is for images of 32 or 64 pixels, not 8×8"),
    (PYTHON, {"checkpoint": "model.py:make_other", "input_shape": [6, 1, 1]},
     r"^student: image must have shape \(3, 8, 8\) as the teacher's, not \(4, 4, 4\)$"),
    (PYTHON, {"checkpoint": "g.safetensors"}, r"^student: input must have shape \(6, 1, 1\) as the teacher's, not \(3, 1, 1\)$"),
    (PYTHON, {"width": 4}, "^student.width: makes a generator like the shipped ones, but resolution must be 32 or 64, got 8"),
])  # fmt: skip
def test_mismatches_are_named(folder, teacher, student, message):
    with pytest.raises(UserError, match=message):
        load_start(recipe(teacher, student), folder)


def test_pictures_come_in_the_size_of_the_teacher_and_never_in_other_channels(folder, tmp_path):
    chain = generator()
    made = load_data(recipe(PYTHON), chain, folder / "pictures")
    assert made.shape == (24, 3, 8, 8) and made.dtype == np.uint8
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(UserError, match="images must have 3 channels as the teacher's, not 1; convert them"):
        load_data(recipe(PYTHON), chain, tmp_path)
    with pytest.raises(UserError, match="sample: images must have 3 channels"):
        load_data(recipe(PYTHON), chain, "sample")


def test_images_are_scored_by_a_network_that_takes_them(folder):
    assert load_scoring(recipe(PYTHON), generator(), folder) is None
    grey = load_start(recipe({"checkpoint": "g.safetensors"}), folder).teacher
    found = load_scoring(recipe({"checkpoint": "g.safetensors"}), grey, folder)
    assert found is not None and found.config.name == "fashion-cnn"
    with pytest.raises(UserError, match="^teacher.classifier: .*gone.safetensors: no such checkpoint file"):
        load_scoring(recipe({**PYTHON, "classifier": "gone.safetensors"}), generator(), folder)
    from organza.assets import FOLDER

    with pytest.raises(UserError, match="^teacher.classifier: .* takes 1 channels of 32×32, the teacher makes 3 of 8×8$"):
        load_scoring(recipe({**PYTHON, "classifier": str(FOLDER / "classifier-fashion.safetensors")}), generator(), folder)


def test_digests_follow_settings_and_files(folder, tmp_path):
    write_files(tmp_path)
    first = digest_of(recipe(PYTHON), tmp_path)
    assert digest_of(recipe(PYTHON), tmp_path) == first != digest_of(recipe({**PYTHON, "loss": "lsgan"}), tmp_path)
    assert digest_of(recipe({**PYTHON, "data": "elsewhere"}), tmp_path) == first  # its content counts, elsewhere
    (tmp_path / "model.py").write_text((tmp_path / "model.py").read_text() + "\n# changed\n")
    assert digest_of(recipe(PYTHON), tmp_path) != first
