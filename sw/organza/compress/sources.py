"""What a recipe names, as networks and images: teacher, discriminator, student, data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from organza import assets, checkpoint, loading
from organza.classifier import Classifier, load_classifier
from organza.compress.chain import Chain
from organza.compress.chain_file import KIND, load_chain
from organza.compress.recipe import Recipe, Source, Teacher
from organza.compress.stages.finetune import initialise
from organza.datasets import load_images
from organza.errors import UserError
from organza.models import RESOLUTIONS, Discriminator, Generator, GeneratorConfig
from organza.models import initialise as initialise_module
from organza.sampling import seeded

# Purposes of random draws, apart from those of training and stages.
_STUDENT, _CRITIC = 40, 41
_TRIAL = 2


@dataclass(frozen=True, eq=False)
class Start:
    """What a run begins with: see `State` and `Context`."""

    teacher: Chain
    judge: Chain | None
    generator: Chain
    critic: Chain | None


def digest_of(recipe: Recipe, folder: Path) -> str:
    """A hash of everything that `load_start` reads: settings, and the bytes of the files."""
    digest = hashlib.sha256()
    student = "" if recipe.student is None else recipe.student.model_dump_json()
    digest.update(f"{recipe.teacher.model_dump_json(exclude={'data', 'classifier'})} {student} {recipe.seed}".encode())
    names = [recipe.teacher.checkpoint, recipe.teacher.weights, *_discriminator_names(recipe.teacher)]
    if recipe.student is not None:
        names += [recipe.student.checkpoint, recipe.student.weights]
    for name in names:
        if name is not None and (path := _file_of(name, folder)).is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def load_start(recipe: Recipe, folder: Path) -> Start:
    """The networks of a recipe in `folder`. Raises `UserError` naming the key or the file, and what to do."""
    teacher = _generator(recipe.teacher, folder, "teacher")
    judge, critic = _discriminators(recipe, teacher, folder)
    generator = teacher
    if recipe.student is not None:
        if recipe.student.width is not None:
            generator = _student(recipe.student.width, teacher, recipe.seed)
        else:
            generator = _generator(recipe.student, folder, "student")
        if recipe.student.fresh:
            initialise(generator, seeded(recipe.seed, _STUDENT, 1))
        for what, wanted, got in (
            ("input", teacher.input_shape, generator.input_shape), ("image", teacher.output_shape, generator.output_shape),
        ):  # fmt: skip
            if wanted != got:
                raise UserError(f"student: {what} must have shape {wanted} as the teacher's, not {got}")
    return Start(teacher, judge, generator, critic)


def load_data(recipe: Recipe, teacher: Chain, data: str | Path) -> np.ndarray:
    """The images that are trained with, uint8 (N, C, H, W); `data` as of `organza.datasets.load_dataset`.

    Raises `UserError` for images with other channels than the teacher's.
    """
    return _images(teacher, data, "train")


def load_test_data(teacher: Chain, data: str | Path) -> np.ndarray:
    """The images that FID and KID compare with."""
    return _images(teacher, data, "test")


def _images(teacher: Chain, data: str | Path, split: str) -> np.ndarray:
    channels, height, width = teacher.output_shape
    if height != width:
        raise UserError(f"teacher: makes images of {height}×{width}, and data sets are square; use a square generator")
    if height < 4 or channels not in (1, 3):
        raise UserError(f"teacher: makes images of shape {teacher.output_shape}, and data sets have 1 or 3 channels")
    images = load_images(data, split=split, resolution=height)
    if images.shape[1] != channels:
        raise UserError(
            f"{data}: images must have {channels} channels as the teacher's, not {images.shape[1]}; "
            "convert them, or take another teacher"
        )
    return images


def load_scoring(recipe: Recipe, teacher: Chain, folder: Path) -> Classifier | None:
    """The network for FID, KID and IS: the recipe's, or the shipped one if it takes such images, or None."""
    channels, height, width = teacher.output_shape
    if recipe.teacher.classifier is None:
        shipped = load_classifier()
        fits = (channels, height, width) == (shipped.config.channels, shipped.config.resolution, shipped.config.resolution)
        return shipped if fits else None
    path = _file_of(recipe.teacher.classifier, folder)
    try:
        made = load_classifier(path)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"teacher.classifier: {error}") from error
    size = made.config.resolution
    if (made.config.channels, size, size) != (channels, height, width):
        raise UserError(
            f"teacher.classifier: {path} takes {made.config.channels} channels of {size}×{size}, "
            f"the teacher makes {channels} of {height}×{width}"
        )
    return made


def _file_of(name: str, folder: Path) -> Path:
    """The file that a recipe calls `name`: below its folder, or shipped; of "file.py:function" the file."""
    file, colon, function = name.rpartition(":")
    if colon and function.isidentifier() and file:
        return folder / file
    return folder / name


def _discriminator_names(teacher: Teacher) -> list[str | None]:
    return [teacher.discriminator, teacher.discriminator_weights]


def _generator(source: Source, folder: Path, key: str) -> Chain:
    name = source.checkpoint
    assert name is not None
    path = _file_of(name, folder)
    if path.suffix == ".py" and source.input_shape is None:
        raise UserError(f"{key}.input_shape: must say what shape {name} takes, e.g. [64, 1, 1]")
    try:
        if path.suffix == ".py":
            assert source.input_shape is not None
            return Chain.of(_module(name, source.weights, folder), torch.zeros(_TRIAL, *source.input_shape))
        if source.weights is not None or source.input_shape is not None:
            raise UserError(f"weights and input_shape go with a 'file.py:function', not with {name}")
        if not path.is_file():
            shipped = assets.generator_file(name)
            if shipped is None:
                raise UserError(
                    f"{path}: no such file; give a .safetensors file, 'file.py:function', or one of {', '.join(assets.GENERATORS)}"
                )
            path = shipped
        if _kind(path) == KIND:
            return load_chain(path)[0]
        module, _ = checkpoint.load_generator(path)
        return Chain.of(module, torch.zeros(_TRIAL, module.config.latent, 1, 1))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{key}.checkpoint: {error}") from error


def _module(name: str, weights: str | None, folder: Path) -> nn.Module:
    file, _, function = name.rpartition(":")
    return loading.load_generator(f"{folder / file}:{function}", None if weights is None else folder / weights)


def _kind(path: Path) -> object:
    return checkpoint.load_checkpoint(path)[1].get("kind")


def _discriminators(recipe: Recipe, teacher: Chain, folder: Path) -> tuple[Chain | None, Chain | None]:
    """The teacher's discriminator twice, as the judge and as what is trained; a fresh one judges nothing."""
    settings = recipe.teacher
    name = settings.discriminator
    if name is None:
        shipped = None if settings.checkpoint is None else assets.discriminator_file(settings.checkpoint)
        own = settings.checkpoint is not None and _file_of(settings.checkpoint, folder).exists()
        if shipped is None or own:
            return None, None
        path: Path | None = shipped
    elif name in ("none", "fresh"):
        if settings.discriminator_weights is not None:
            raise UserError(f"teacher.discriminator_weights: go with a 'file.py:function', not with {name!r}")
        return None, _fresh(recipe, teacher) if name == "fresh" else None
    else:
        path = _file_of(name, folder)
        if not path.exists():
            path = assets.discriminator_file(name) or path
    assert path is not None
    channels, height, width = teacher.output_shape
    example = torch.zeros(_TRIAL, channels, height, width)
    try:
        if path.suffix == ".py":
            assert name is not None
            judge = Chain.of(_module(name, settings.discriminator_weights, folder), example)
        elif settings.discriminator_weights is not None:
            raise UserError(f"discriminator_weights go with a 'file.py:function', not with {name}")
        elif not path.is_file():
            raise UserError(
                f"{path}: no such file; give a discriminator.safetensors of 'organza train', 'file.py:function', 'fresh' or 'none'"
            )
        elif _kind(path) == KIND:
            judge = load_chain(path)[0]
        else:
            module = checkpoint.load_discriminator(path)[0]
            size = module.settings["resolution"]
            judge = Chain.of(module, torch.zeros(_TRIAL, module.settings["channels"], size, size))
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        raise UserError(f"teacher.discriminator: {error}") from error
    if judge.input_shape != teacher.output_shape:
        raise UserError(
            f"teacher.discriminator: must take images of shape {teacher.output_shape} as the teacher makes, not {judge.input_shape}"
        )
    return judge, judge


def _fresh(recipe: Recipe, teacher: Chain) -> Chain:
    channels, size, width = teacher.output_shape
    if size != width or size not in RESOLUTIONS:
        raise UserError(
            f"teacher.discriminator: 'fresh' is for images of {' or '.join(map(str, RESOLUTIONS))} pixels, "
            f"not {size}×{width}; give your own as 'file.py:function'"
        )
    last = [layer for layer in teacher.list if not layer.passthrough][-1]
    made = Discriminator(
        resolution=size, channels=channels, width=min(1024, max(8, last.shape[0] * 3 // 2)),
        normalise=recipe.teacher.loss != "wgan-gp",
    )  # fmt: skip
    initialise_module(made, seeded(recipe.seed, _CRITIC))
    return Chain.of(made, torch.zeros(_TRIAL, channels, size, size))


def _student(width: int, teacher: Chain, seed: int) -> Chain:
    (latent, *map_), (channels, size, _) = teacher.input_shape, teacher.output_shape
    try:
        config = GeneratorConfig(latent=latent, width=width, resolution=size, channels=channels)
    except ValueError as error:
        raise UserError(f"student.width: makes a generator like the shipped ones, but {error}; give a checkpoint") from error
    if map_ != [1, 1]:
        raise UserError(f"student.width: makes a generator of latents (N, {latent}), the teacher takes {teacher.input_shape}")
    module = Generator(config)
    initialise_module(module, seeded(seed, _STUDENT, 0))
    return Chain.of(module.eval(), torch.zeros(_TRIAL, latent, 1, 1))
