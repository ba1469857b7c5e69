"""TOML files for users: read, validated by pydantic, with errors that name file and key, and what it may be."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from organza.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


class Table(BaseModel):
    """A table of a file; keys that it does not know are errors. A field's title is its key, if that is not its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Keys and values of a file, `what` it should be in words. Raises `UserError` naming the file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give {what}, a TOML file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: must be text in UTF-8 ({error.reason})") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: must be TOML: {error}") from error


def validated(model: type[Model], values: Mapping[str, Any], where: str = "") -> Model:
    """A model of the values. Raises `UserError` with every key that is wrong, after `where`, and what it may be."""
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
    return [field.title or name for name, field in model.model_fields.items()]


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
