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

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from organza.compress.rules import check_order
from organza.compress.stages import STAGES
from organza.compress.stages.stage import Stage
from organza.errors import UserError
from organza.losses import LOSSES

Table = TypeVar("Table", bound=BaseModel)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(_Table):
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


class Report(_Table):
    """`[report]`: how much is measured after every stage.

    images : for FID, KID and IS, with each of `seeds` seeds. latents : for PSNR. lanes : multipliers that are planned with.
    quality : of which stages images are made and scored, "all" or the "last"; bits, MACs and cycles are always told.
    """

    images: int = Field(default=10_000, ge=2, le=1 << 20)
    seeds: int = Field(default=3, ge=1, le=100)
    latents: int = Field(default=1000, ge=1, le=1 << 20)
    lanes: int | None = Field(default=None, ge=1)
    quality: Literal["all", "last"] = "all"


class Recipe(_Table):
    """A whole recipe; see `load_recipe`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    about: str = ""
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    teacher: Teacher = Field(default_factory=Teacher)
    student: Student | None = None
    report: Report = Field(default_factory=Report)
    stages: tuple[Stage, ...] = ()


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Raises `UserError` naming the file, the key and the choices, or why two stages exclude each other.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a recipe, a TOML file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: must be text in UTF-8 ({error.reason})") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: must be TOML: {error}") from error
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
    recipe = _validated(Recipe, {**rest, "stages": stages}, "")
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
    return _validated(STAGES[kind], settings, f"stage {number}: {kind}")


def _validated(model: type[Table], values: Mapping[str, Any], where: str) -> Table:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UserError("; ".join(_lines(model, error, where))) from error


def _lines(model: type[BaseModel], error: ValidationError, where: str) -> list[str]:
    """What is wrong, as `stage 2: quantize.bits: …`; of the branches of a union only the first complaint."""
    made: dict[str, str] = {}
    for one in error.errors(include_url=False):
        # Members of unions are in the path too, as list[str] or dict[…].
        keys = [part for part in one["loc"] if isinstance(part, str) and part.isidentifier()]
        unknown = one["type"] == "extra_forbidden"
        if unknown:
            name, owner = keys.pop(), model
            for key in keys:
                owner = _model_in(owner.model_fields[key].annotation) or owner
            message = f"unknown key {name!r}; known are {', '.join(_keys(owner))}"
        else:
            message = _message(one)
        place = ".".join([where, *keys] if where else keys)
        made.setdefault(f"{place} {message if unknown else ''}", f"{place}: {message}" if place else message)
    return list(made.values())


def _keys(model: type[BaseModel]) -> list[str]:
    return ["stage" if name == "stages" else name for name in model.model_fields]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a field's annotation, an optional one too."""
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _message(one: Any) -> str:
    if one["type"] == "value_error":
        return str(one["ctx"]["error"])
    if one["type"] == "literal_error":
        choices = one["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return f"must be one of {choices}, not {one['input']!r}"
    if one["type"] == "missing":
        return "is missing"
    text = one["msg"].removeprefix("Input should be ")
    return f"must be {text}, not {one['input']!r}"
