"""Recipes: TOML files that say what to make of which generator, a stage a table.

    [teacher]
    checkpoint = "dcgan32-w32"

    [[stage]]
    quantize = { code = "uniform", bits = 4 }
    [[stage]]
    finetune = { steps = 1500 }

Paths are relative to the recipe's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from organza.compress.rules import check_order
from organza.compress.stages import STAGES
from organza.compress.stages.stage import Stage
from organza.errors import UserError
from organza.losses import LOSSES
from organza.toml_tables import Table, read_toml, validated


class Source(Table):
    """Where a generator comes from.

    checkpoint : name of a shipped generator, a .safetensors file of `organza train` or `organza compress`, or "file.py:function"
    with its `weights` and the `input_shape` of one input.
    """

    checkpoint: str | None = None
    weights: str | None = None
    input_shape: list[int] | None = Field(default=None, min_length=1, max_length=3)


class Teacher(Source):
    """`[teacher]`.

    discriminator : the one that the teacher was trained with: a shipped generator's name, a file of `organza train`,
    "file.py:function" with `discriminator_weights`, "fresh" for a new one, "none". By default that of a shipped teacher. data :
    see `organza.datasets.load_dataset`. loss : of the adversarial training. classifier : network for FID, KID and IS;
    by default the shipped one where the images suit it.
    """

    checkpoint: str | None = "dcgan32-w32"
    discriminator: str | None = None
    discriminator_weights: str | None = None
    data: str = "fashion-mnist"
    loss: str = "dcgan"
    classifier: str | None = None

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        if value not in LOSSES:
            raise ValueError(f"must be one of {', '.join(LOSSES)}, not {value!r}")
        return value


class Student(Source):
    """`[student]`: what stages begin with, instead of the teacher.

    width : a new generator like the shipped ones, channels of its last hidden layer. fresh : draw the weights anew.
    """

    width: int | None = Field(default=None, ge=1, le=256)
    fresh: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Student:
        if (self.checkpoint is None) == (self.width is None):
            raise ValueError("must have exactly one of checkpoint and width")
        return self


class Report(Table):
    """`[report]`: how much is measured after every stage.

    images : for FID, KID and IS, with each of `seeds` seeds. latents : for PSNR. lanes : multipliers that are planned with.
    quality : of which stages images are made and scored, "all" or the "last"; bits, MACs and cycles are always told.
    """

    images: int = Field(default=10_000, ge=2, le=1 << 20)
    seeds: int = Field(default=3, ge=1, le=100)
    latents: int = Field(default=1000, ge=1, le=1 << 20)
    lanes: int | None = Field(default=None, ge=1)
    quality: Literal["all", "last"] = "all"


class Recipe(Table):
    """A whole recipe; see `load_recipe`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    about: str = ""
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    teacher: Teacher = Field(default_factory=Teacher)
    student: Student | None = None
    report: Report = Field(default_factory=Report)
    stages: tuple[Stage, ...] = Field(default=(), title="stage")


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises `UserError` naming the file, the key and the choices, or why two stages exclude each other.
    """
    values = read_toml(path, "a recipe")
    try:
        return parse_recipe(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """The recipe of a TOML document. Raises `UserError` as `load_recipe`, without the file's name."""
    rest = dict(values)
    tables = rest.pop("stage", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError("stage: must be tables, each under a line [[stage]]")
    if not tables:
        raise UserError(f"stage: must have at least one; a stage is a table [[stage]] with one of {', '.join(STAGES)}")
    stages = tuple(_stage(number, table) for number, table in enumerate(tables, 1))
    if "stages" in rest:
        raise UserError("unknown key 'stages'; a stage is a table [[stage]]")
    recipe = validated(Recipe, {**rest, "stages": stages}, "")
    check_order(recipe.stages)
    return recipe


def _stage(number: int, table: dict[str, Any]) -> Stage:
    known = ", ".join(STAGES)
    if len(table) != 1:
        found = ", ".join(table) or "none"
        raise UserError(f"stage {number}: must have exactly one key of {known}, found {found}")
    ((kind, settings),) = table.items()
    if kind not in STAGES:
        raise UserError(f"stage {number}: must be one of {known}, not {kind!r}")
    if not isinstance(settings, dict):
        raise UserError(f"stage {number}: {kind} must be a table of keys, not {settings!r}")
    return validated(STAGES[kind], settings, f"stage {number}: {kind}")
